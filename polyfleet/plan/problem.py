"""The plan as numbers: everything the solver needs and nothing else.

Axes: T windows, B size buckets of one workload. Rates are requests per second, money USD, loads per replica.
Built from a spec by `build_problem`, or drawn from a seed by `synthetic`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polyfleet.terms.build import Build
from polyfleet.terms.evidence import Evidence
from polyfleet.terms.offer import Purchase
from polyfleet.terms.units import HOURS_PER_MONTH

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SupplierKind = Literal["provider", "chip_vendor", "region"]
CapKind = Literal["provider", "chip_vendor", "region", "spot"]


@dataclass(frozen=True, slots=True, order=True)
class Supplier:
    """On whom a line depends. `region` is empty where no limit of the spec looks at regions."""

    provider: str
    chip_vendor: str
    region: str = ""

    def named(self, kind: str) -> str:
        """The supplier's name of a kind: its provider, chip vendor or region."""
        return str(getattr(self, kind))


@dataclass(frozen=True, slots=True)
class Step:
    """One price step of a box: an offer, its price for a whole instance, and how many there are (None = no limit)."""

    offer_id: str
    usd_per_hour: float
    quota: int | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """Instances that are alike but for the price: one provider x chip x size x purchase. Steps ascend in price."""

    supplier: Supplier
    chip: str
    chips: int
    purchase: Purchase
    steps: tuple[Step, ...]

    @property
    def all_hours(self) -> bool:
        """Paid for every hour of the month. A capacity block is booked for whole days, so it cannot follow the day."""
        return self.purchase.committed or self.purchase is Purchase.CAPACITY_BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """What a workload asks for.

    `rate_per_s` (T, B) mean request rates; `headroom` (T,) factors >= 1 on them; `tokens` (B,) input + output tokens
    of a request, which shares are counted in. Batch work has one bucket, runs at an even rate in the windows of its
    hours, and waits while a supplier is lost.
    """

    name: str
    rate_per_s: Floats
    headroom: Floats
    tokens: Floats
    is_batch: bool = False

    @property
    def staffed_per_s(self) -> Floats:
        """(T, B) rates that capacity must cover: headroom included."""
        return self.rate_per_s * self.headroom[:, None]

    def tokens_per_month(self, hours: Floats) -> float:
        """Tokens served in a month of windows of these hours."""
        return float(hours @ (self.rate_per_s @ self.tokens)) * 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A workload's build on a box. `packed_chips` is what one replica takes of the box once sizes are rounded so that
    they pack exactly; `capacity` and `capacity_lost` (B,) requests per second of one replica under the promise and
    under the loosened one; `band` the P10 and P90 capacity as factors of the P50."""

    workload: int
    box: int
    build: Build
    packed_chips: int
    capacity: Floats
    capacity_lost: Floats
    band: tuple[float, float] = (1.0, 1.0)
    evidence: Evidence = Evidence.ASSUMED


@dataclass(frozen=True, slots=True, eq=False)
class Hosted:
    """A workload's model sold by the token: `usd_per_request` (B,), inf where a request is too long for the host;
    `limit_per_s` (B,) most requests per second were all of that bucket, inf where no limit is published."""

    workload: int
    supplier: Supplier
    offer_id: str
    usd_per_request: Floats
    limit_per_s: Floats


@dataclass(frozen=True, slots=True)
class Cap:
    """Most of the traffic of some workloads that one supplier (or spot) may carry, over the month."""

    kind: CapKind
    supplier: str
    share: float
    workloads: tuple[int, ...]

    @property
    def name(self) -> str:
        return "spot share" if self.kind == "spot" else f"share of {self.kind} {self.supplier}"


@dataclass(frozen=True, slots=True)
class Loss:
    """A supplier that the plan must be able to lose."""

    kind: SupplierKind
    supplier: str

    @property
    def name(self) -> str:
        return f"survive {self.kind} {self.supplier}"


@dataclass(frozen=True, slots=True)
class Quota:
    """Most chips of one kind at one provider, at any time."""

    provider: str
    chip: str
    chips: int

    @property
    def name(self) -> str:
        return f"quota {self.provider} {self.chip}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan must keep. `keep` is the share of demand still served while something is lost."""

    caps: tuple[Cap, ...] = ()
    losses: tuple[Loss, ...] = ()
    keep: float = 1.0
    quotas: tuple[Quota, ...] = ()
    budget_usd_per_month: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """The whole problem. `hours` (T,) hours per month of each window."""

    windows: tuple[str, ...]
    hours: Floats
    needs: tuple[Need, ...]
    boxes: tuple[Box, ...]
    options: tuple[Option, ...]
    hosted: tuple[Hosted, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def cap_tokens(self, cap: Cap) -> float:
        """Tokens per month that a cap's share is a share of."""
        return sum(self.needs[w].tokens_per_month(self.hours) for w in cap.workloads)

    def is_capped(self, cap: Cap, workload: int, supplier: Supplier, purchase: Purchase) -> bool:
        """Whether traffic of a workload on that supplier counts against the cap."""
        if workload not in cap.workloads:
            return False
        if cap.kind == "spot":
            return purchase is Purchase.SPOT
        return supplier.named(cap.kind) == cap.supplier


def packed_chips(replica_chips: int, box_chips: int) -> int:
    """Chips that a replica takes of a box, rounded up along a chain of divisors of the box so that any mix of rounded
    sizes packs exactly (each size divides the next larger one). 0 where it does not fit."""
    if replica_chips > box_chips:
        return 0
    best = size = box_chips
    while size > 1:
        size //= _largest_prime(size)
        if size < replica_chips:
            break
        best = size
    return best


def _largest_prime(number: int) -> int:
    factor, largest = 2, 1
    while number > 1:
        while number % factor == 0:
            number, largest = number // factor, factor
        factor += 1
    return largest


def month_hours(problem: Problem) -> float:
    """Hours an all-hours offer is paid for."""
    return float(problem.hours.sum()) if problem.hours.size else HOURS_PER_MONTH
