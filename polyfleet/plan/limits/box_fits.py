"""Replicas fit the instances rented."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.sheet import Sheet


def limit_box_fits(sheet: Sheet) -> None:
    """Chips that replicas take <= chips rented, by box and window. Sizes are rounded so that any mix packs."""
    first = np.cumsum([0] + [len(b.steps) for b in sheet.problem.boxes])
    for f in range(len(sheet.block.windows)):
        for b, box in enumerate(sheet.problem.boxes):
            rented = sheet.columns.step[f, first[b] : first[b + 1]]
            columns, values = [rented], [np.full(rented.size, -float(box.chips))]
            for w, stack in enumerate(sheet.stacks):
                inside = stack.box == b
                columns.append(sheet.columns.replica[w][f, inside])
                values.append(stack.packed[inside])
            sheet.row("replicas fit", np.concatenate(columns), np.concatenate(values), upper=0.0)
