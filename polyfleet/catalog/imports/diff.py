"""What moved between two catalogs, and which plans it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polyfleet.catalog.store import load_catalog
from polyfleet.terms.plan import Plan


@dataclass(frozen=True, slots=True)
class Priced:
    """An offer's figures: USD per hour, or per million tokens in and out; a spot offer's rate of interruptions."""

    usd: float
    usd_input: float | None = None
    interruptions_per_month: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An offer that moved, appeared or is gone, and the plans (by name) that rent it."""

    id: str
    what: Literal["moved", "appeared", "gone"]
    was: Priced | None
    now: Priced | None
    plans: tuple[str, ...] = ()

    @property
    def factor(self) -> float | None:
        """The new price over the old one."""
        return self.now.usd / self.was.usd if self.was and self.now else None


@dataclass(frozen=True, slots=True)
class Touched:
    """What the changes do to a plan's rentals: USD a month as planned and at the new prices, offers that are gone.

    A rental whose offer is gone counts at its planned price in both.
    """

    plan: str
    changes: int
    gone: tuple[str, ...]
    usd_per_month: float
    usd_per_month_now: float


def compare(old: Path | None, new: Path | None) -> tuple[Change, ...]:
    """Changes between the packaged catalog with `old` laid over it and the same with `new` (None = as packaged), by how
    far the price went. Raises CatalogError where a file is wrong."""
    before, after = _prices(old), _prices(new)
    changes = [_change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    return tuple(sorted((c for c in changes if c), key=_weight))


def touch(
    changes: Sequence[Change], plans: Mapping[str, Plan], new: Path | None
) -> tuple[tuple[Change, ...], tuple[Touched, ...]]:
    """The changes with the plans that each touches, and what they do to each plan."""
    after = _prices(new)
    marked = tuple(
        Change(c.id, c.what, c.was, c.now, tuple(name for name, plan in plans.items() if c.id in _offers(plan)))
        for c in changes
    )
    return marked, tuple(_touched(name, plan, marked, after) for name, plan in plans.items())


def _touched(name: str, plan: Plan, changes: Sequence[Change], after: Mapping[str, Priced]) -> Touched:
    mine = [c for c in changes if name in c.plans]
    gone = sorted(offer for offer in _offers(plan) if offer not in after)
    planned = sum(r.instance_hours_per_month * r.usd_per_hour for r in plan.rentals)
    now = sum(
        r.instance_hours_per_month * (after[r.offer].usd if r.offer in after else r.usd_per_hour) for r in plan.rentals
    )
    return Touched(name, len(mine), tuple(gone), planned, now)


def _offers(plan: Plan) -> set[str]:
    return {rental.offer for rental in plan.rentals} | {offer for line in plan.lines for offer in line.offers}


def _prices(overlay: Path | None) -> dict[str, Priced]:
    catalog = load_catalog([overlay] if overlay else [], include_unproven=True)
    rented = {o.id: Priced(o.usd_per_hour, None, o.interruptions_per_month) for o in catalog.offers}
    return rented | {h.id: Priced(h.usd_per_million_output, h.usd_per_million_input) for h in catalog.hosted}


def _change(name: str, was: Priced | None, now: Priced | None) -> Change | None:
    if was == now:
        return None
    return Change(name, "moved" if was and now else "appeared" if now else "gone", was, now)


def _weight(change: Change) -> tuple[float, str]:
    """Those furthest from their old price first; what appeared or is gone after them."""
    factor = change.factor
    return (-max(factor, 1 / factor) if factor else 0.0, change.id)
