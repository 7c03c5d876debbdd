"""The limits of a plan: what is allowed, what is used, and what the relaxed program says one more unit is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polyfleet.plan.fleet import Fleet
from polyfleet.plan.problem import Cap, Quota
from polyfleet.plan.stack import Stack
from polyfleet.terms.plan import LimitRow


def limit_rows(
    fleet: Fleet, duals: Mapping[str, float], usd: float, served: Mapping[str, float]
) -> tuple[LimitRow, ...]:
    """A row for every limit that the plan touches. `duals` USD a month by row name; `served` by loss name."""
    limits = fleet.problem.limits
    rows = []
    for c, cap in enumerate(limits.caps):
        used = _cap_used(fleet, c, cap)
        dual = max(0.0, -duals.get(cap.name, 0.0)) / max(cap.share * 100.0, 1e-9)
        if used > 0 or dual > 0:
            rows.append(_row(cap.name, f"share of {cap.kind}", cap.share, used, "share of tokens", dual, "point"))
    losses = [loss for loss in limits.losses if loss.name in served]
    for loss in losses:
        alike = sum(1 for other in losses if other.kind == loss.kind)
        dual = max(0.0, duals.get(loss.name, 0.0)) + max(0.0, duals.get(f"survive {loss.kind}", 0.0)) / alike
        kept = served[loss.name]
        rows.append(
            LimitRow(
                name=loss.name, kind="survive", bound=limits.keep, used=kept, unit="share of staffed demand",
                binding=dual > 0, marginal_usd_per_month=dual, marginal_of="the whole limit, relaxed",
            )
        )  # fmt: skip
    for quota in limits.quotas:
        used = _quota_used(fleet, quota)
        dual = max(0.0, -duals.get(quota.name, 0.0)) / max(quota.chips, 1)
        rows.append(_row(quota.name, "quota", float(quota.chips), used, "chips", dual, "chip"))
    if limits.budget_usd_per_month is not None:
        rows.append(_row("budget", "budget", limits.budget_usd_per_month, usd, "USD per month", None, ""))
    return tuple(rows)


def _row(name: str, kind: str, bound: float, used: float, unit: str, dual: float | None, of: str) -> LimitRow:
    return LimitRow(
        name=name, kind=kind, bound=bound, used=used, unit=unit, binding=used >= bound * (1 - 1e-3),
        marginal_usd_per_month=dual, marginal_of=of,
    )  # fmt: skip


def _cap_used(fleet: Fleet, c: int, cap: Cap) -> float:
    """Share of the capped workloads' tokens."""
    used = 0.0
    for w in cap.workloads:
        stack: Stack = fleet.stacks[w]
        for s in np.flatnonzero(stack.caps == c):
            for t, row in enumerate(fleet.base):
                tokens = row[w].own[stack.capped_own[s]].sum(axis=0) + row[w].hosted[stack.capped_hosted[s]].sum(axis=0)
                used += float(tokens @ stack.need.tokens) * float(fleet.problem.hours[t]) * 3600.0
    return used / max(fleet.problem.cap_tokens(cap), 1e-300)


def _quota_used(fleet: Fleet, quota: Quota) -> float:
    used, k = np.zeros(fleet.problem.hours.size), 0
    for box in fleet.problem.boxes:
        for _ in box.steps:
            if box.supplier.provider == quota.provider and box.chip == quota.chip:
                used += fleet.steps[:, k] * box.chips
            k += 1
    return float(used.max())
