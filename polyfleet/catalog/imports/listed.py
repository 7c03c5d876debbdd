"""What a price list gives: prices, and a tally of what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from polyfleet.catalog.offers import offer_id
from polyfleet.terms.offer import Purchase

_EXAMPLES = 3
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A price of a whole instance in USD per hour, as a list states it. `chips` None = the list does not tell.

    `chip` is the list's own word for it, empty where it has none; `chip_gib` the memory of one chip or of all, 0 = not
    told. `source` is the address that was read, `as_of` the day of the price.
    """

    provider: str
    region: str
    instance_type: str
    purchase: Purchase
    usd_per_hour: float
    source: str
    as_of: str
    chip: str = ""
    chips: float | None = None
    chip_gib: float = 0.0
    vcpus: float = 0.0
    memory_gib: float = 0.0
    note: str = ""

    @property
    def id(self) -> str:
        return offer_id(self.provider, self.region, self.instance_type, self.purchase)


@dataclass(slots=True)
class Tally:
    """Rows read and rows left out, by reason, with the first few of each kind; `remarks` are for the user to read."""

    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, example: str = "") -> None:
        self.left_out[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if example and len(shown) < _EXAMPLES and example not in shown:
            shown.append(example)

    def add(self, other: Tally) -> None:
        self.read += other.read
        self.left_out += other.left_out
        self.remarks += other.remarks
        for reason, shown in other.examples.items():
            mine = self.examples.setdefault(reason, [])
            mine += [e for e in shown if e not in mine][: _EXAMPLES - len(mine)]


def cheapest_of_zones(prices: Iterable[Listed]) -> Iterator[Listed]:
    """One price per offer out of several zones' prices: the cheapest, its note telling the dearest."""
    lowest: dict[str, Listed] = {}
    highest: dict[str, float] = {}
    zones: Counter[str] = Counter()
    for price in prices:
        zones[price.id] += 1
        highest[price.id] = max(price.usd_per_hour, highest.get(price.id, 0.0))
        if price.id not in lowest or price.usd_per_hour < lowest[price.id].usd_per_hour:
            lowest[price.id] = price
    for name, price in lowest.items():
        if highest[name] == price.usd_per_hour:
            yield price
        else:
            told = f"cheapest of {zones[name]} zones (dearest {highest[name]:g})"
            yield replace(price, note="; ".join(part for part in (price.note, told) if part))
