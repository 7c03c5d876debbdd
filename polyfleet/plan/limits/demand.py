"""Demand is met: in the base case, and while a supplier is lost. Rows are cuts at bucket prices (see `cuts`)."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.cuts import Cut
from polyfleet.plan.limits.share import batch_scale, token_scale
from polyfleet.plan.problem import Floats
from polyfleet.plan.sheet import Sheet


def limit_demand(sheet: Sheet, f: int, w: int, cut: Cut) -> None:
    """One cut of the base case of workload w in the block's window f."""
    need, columns = sheet.stacks[w].need, sheet.columns
    parts = [columns.replica[w][f], columns.spend[w][f], columns.share[w][f]]
    values = [cut.own, cut.hosted / 3600.0, cut.capped * token_scale(sheet, w)[f]]
    if need.is_batch:
        parts.append(columns.batch[w][f : f + 1])
        values.append(np.array([-float(cut.bucket[0]) * batch_scale(sheet, w)]))
        due = -cut.constant
    else:
        due = float(cut.bucket @ need.staffed_per_s[sheet.block.windows[f]]) - cut.constant
        values[0] = _tightened(cut.own, due)
    _add(sheet, f"demand of {need.name}", parts, values, due)


def limit_survive(sheet: Sheet, f: int, w: int, cut: Cut, loss: int) -> None:
    """One cut of a loss: what survives carries `keep` of the staffed demand under the loosened promise."""
    need, limits = sheet.stacks[w].need, sheet.problem.limits
    due = limits.keep * float(cut.bucket @ need.staffed_per_s[sheet.block.windows[f]]) - cut.constant
    name = limits.losses[loss].name
    _add(sheet, name, [sheet.columns.replica[w][f]], [_tightened(cut.own, due)], due)


def _tightened(own: Floats, due: float) -> Floats:
    """Since replicas are whole and nothing in the row is negative, one replica need not count for more than is due."""
    return np.minimum(own, due) if due > 0.0 else own


def _add(sheet: Sheet, name: str, parts: list, values: list, lower: float) -> None:  # type: ignore[type-arg]
    columns, coefficients = np.concatenate(parts), np.concatenate(values)
    scale = float(np.abs(coefficients).max(initial=0.0))
    if scale > 0.0:
        kept = np.where(np.abs(coefficients) < 1e-9 * scale, 0.0, coefficients)
        sheet.row(name, columns, kept / scale, lower=lower / scale)
    elif lower > 0.0:
        sheet.row(name, columns, coefficients, lower=lower)
