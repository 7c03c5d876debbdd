"""Prices just read, merged by offer id into the user's file: what moves too far is held back, what is his own stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from statistics import median
from types import MappingProxyType

from polyfleet.catalog.hosted import load_hosted
from polyfleet.catalog.imports.listed import Row
from polyfleet.catalog.offers import load_offers
from polyfleet.terms.offer import Purchase

MOST = 3.0
"""A price that moves by more than this factor, up or down, is held back."""
_NOISE = 1e-4  # lists round, and sums of parts do
LISTS = ("skypilot", "azure", "aws", "aws-savings-plans", "spot-advisor", "gcp", "gpuhunt", "own")


@dataclass(frozen=True, slots=True)
class Move:
    """A price beside the one it would replace. `why` says what that one is."""

    id: str
    was: float
    now: float
    why: str

    @property
    def factor(self) -> float:
        return self.now / self.was


@dataclass(slots=True)
class Merged:
    """The rows of the new file by offer id, and what became of the prices that were read."""

    rows: dict[str, Row]
    added: list[str] = field(default_factory=list)
    moved: list[Move] = field(default_factory=list)
    same: int = 0
    rates: int = 0
    held: list[Move] = field(default_factory=list)
    kept: list[Move] = field(default_factory=list)
    older: int = 0
    gone: list[str] = field(default_factory=list)


def merge(mine: Mapping[str, Row], found: Mapping[str, Row], accept: Sequence[str] = ()) -> Merged:
    """The user's rows with those just read laid in. `accept`: ids, or patterns with `*`, whose price is taken anyway.

    A row that no list wrote is the user's own and stays. A price older than the present one is not taken. Cells that a
    list does not tell (a quota, a rate of interruptions) stay.
    """
    merged = Merged(dict(mine))
    for name, cells in found.items():
        own, taken = mine.get(name), any(fnmatchcase(name, pattern) for pattern in accept)
        now, present, why = price(cells), _present(name, own), "present price"
        was = present[0] if present else _usual(name)
        if present is None and was:
            why = "median of its regions"
        if own and not written_by(own) and not taken:
            merged.kept.append(Move(name, price(own), now, "your own row"))
        elif present and cells.get("as_of", "") < present[1] and not taken:
            merged.older += 1
        elif was and max(now / was, was / now) > MOST and not taken:
            merged.held.append(Move(name, was, now, why))
        else:
            merged.rows[name] = _laid(own or {}, cells)
            if present is None:
                merged.added.append(name)
            elif abs(now / present[0] - 1) > _NOISE:
                merged.moved.append(Move(name, present[0], now, why))
            else:
                merged.same += 1
    _find_gone(merged, mine, found)
    return merged


def price(row: Mapping[str, str]) -> float:
    """USD per hour, or per million output tokens."""
    return float(row.get("usd_per_hour") or row["usd_per_million_output"])


def written_by(row: Mapping[str, str]) -> str:
    """The list that wrote a row, as its note begins; empty for the user's own."""
    first = row.get("note", "").split(";")[0].strip()
    return next((name for name in LISTS if first == f"{name} list"), "")


def _present(name: str, own: Row | None) -> tuple[float, str] | None:
    """Price and date that plans see now."""
    return (price(own), own.get("as_of", "")) if own else packaged().get(name)


@cache
def packaged() -> Mapping[str, tuple[float, str]]:
    """Price and date of every packaged offer by id; second-hand ones are no measure."""
    rented = {o.id: (o.usd_per_hour, o.as_of) for o in load_offers() if o.quality != "unproven"}
    hosted = {h.id: (h.usd_per_million_output, h.as_of) for h in load_hosted() if h.quality != "unproven"}
    return MappingProxyType(rented | hosted)


def _usual(name: str) -> float | None:
    """Median over regions of what is listed of a type; None for spot prices, which differ as they like."""
    provider, _, instance_type, purchase = name.split(":")
    return None if purchase == Purchase.SPOT else _medians().get((provider, instance_type, purchase))


@cache
def _medians() -> Mapping[tuple[str, str, str], float]:
    groups: dict[tuple[str, str, str], list[float]] = {}
    for o in load_offers():
        groups.setdefault((o.provider, o.instance_type, o.purchase.value), []).append(o.usd_per_hour)
    return MappingProxyType({key: median(prices) for key, prices in groups.items()})


def _laid(own: Row, cells: Row) -> Row:
    note = [cells.get("note", ""), *(p for p in own.get("note", "").split("; ") if p.startswith("spot advisor "))]
    return {**own, **cells, "note": "; ".join(part for part in note if part)}


def _find_gone(merged: Merged, mine: Mapping[str, Row], found: Mapping[str, Row]) -> None:
    """Rows that the same list wrote earlier and has no more, in regions of which it has something."""
    covered = {(written_by(cells), *name.split(":")[:2], name.split(":")[3]) for name, cells in found.items()}
    for name, row in mine.items():
        if name not in found and (written_by(row), *name.split(":")[:2], name.split(":")[3]) in covered:
            merged.gone.append(name)
