"""Most chips of one kind at one provider."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.sheet import Sheet


def limit_quota(sheet: Sheet) -> None:
    """Chips rented of a provider's chip <= its quota, in every window, over all ways to buy."""
    boxes = sheet.problem.boxes
    box_of = np.repeat(np.arange(len(boxes)), [len(b.steps) for b in boxes]).astype(np.int64)
    chips = np.array([float(boxes[b].chips) for b in box_of])
    for quota in sheet.problem.limits.quotas:
        inside = np.array(
            [boxes[b].supplier.provider == quota.provider and boxes[b].chip == quota.chip for b in box_of]
        )
        if not inside.any():
            continue
        for f in range(len(sheet.block.windows)):
            sheet.row(quota.name, sheet.columns.step[f, inside], chips[inside], upper=float(quota.chips))
