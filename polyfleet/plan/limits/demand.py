"""Demand is met: in the base case, and while a supplier is lost. Rows are cuts at bucket prices (see `cuts`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polyfleet.plan.cuts import Cut
from polyfleet.plan.limits.share import token_scale
from polyfleet.plan.problem import Floats
from polyfleet.plan.sheet import Sheet


def limit_demand(sheet: Sheet, f: int, w: int, cut: Cut) -> None:
    """One cut of the base case of workload w in the block's window f."""
    need, columns = sheet.stacks[w].need, sheet.columns
    parts = [columns.replica[w][f], columns.spend[w][f], columns.share[w][f]]
    values = [cut.own, cut.hosted / 3600.0, cut.capped * token_scale(sheet, w)[f]]
    due = float(cut.bucket @ need.staffed_per_s[sheet.block.windows[f]]) - cut.constant
    values[0] = _tightened(cut.own, due)
    _add(sheet, f"demand of {need.name}", parts, values, due)


def limit_survive(sheet: Sheet, f: int, w: int, cut: Cut, loss: int) -> None:
    """One cut of a loss: what survives carries `keep` of the staffed demand under the loosened promise."""
    need, limits = sheet.stacks[w].need, sheet.problem.limits
    due = limits.keep * float(cut.bucket @ need.staffed_per_s[sheet.block.windows[f]]) - cut.constant
    name = limits.losses[loss].name
    _add(sheet, name, [sheet.columns.replica[w][f]], [_tightened(cut.own, due)], due)


def limit_survive_any(sheet: Sheet, f: int, w: int, cuts: Sequence[Cut], kind: str) -> None:
    """What the losses of a kind ask together, rounded up to whole replicas.

    `cuts` are one price vector's, for each of k losses. Added up and divided by k - 1 they say that what stands, each
    supplier's part counted without its own loss, is worth k / (k - 1) of what is due; of whole replicas that are each
    worth all of it, two are needed (mixed-integer rounding: Nemhauser and Wolsey, Math. Programming 46, 1990).
    """
    limits, need, k = sheet.problem.limits, sheet.stacks[w].need, len(cuts)
    demand = need.staffed_per_s[sheet.block.windows[f]]
    due = np.array([limits.keep * float(c.bucket @ demand) - c.constant for c in cuts])
    if k < 3 or due.min() <= 0.0:
        return
    worth = np.array([_tightened(c.own, d) / d for c, d in zip(cuts, due, strict=True)]).sum(axis=0) / (k - 1)
    whole = np.floor(worth + 1e-9)
    rounded = whole + np.minimum(np.maximum(worth - whole, 0.0) * (k - 1), 1.0)
    sheet.row(f"survive {kind}", sheet.columns.replica[w][f], rounded, lower=2.0)


def _tightened(own: Floats, due: float) -> Floats:
    """Since replicas are whole and nothing in the row is negative, one replica need not count for more than is due."""
    return np.minimum(own, due) if due > 0.0 else own


def _add(sheet: Sheet, name: str, parts: list[Any], values: list[Any], lower: float) -> None:
    columns, coefficients = np.concatenate(parts), np.concatenate(values)
    scale = float(np.abs(coefficients).max(initial=0.0))
    if scale > 0.0:
        kept = np.where(np.abs(coefficients) < 1e-9 * scale, 0.0, coefficients)
        sheet.row(name, columns, kept / scale, lower=lower / scale)
    elif lower > 0.0:
        sheet.row(name, columns, coefficients, lower=lower)
