"""Boxes that the policy allows to rent, and each workload's builds on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polyfleet.catalog.recipes import builds_for
from polyfleet.catalog.regions import matches_region
from polyfleet.catalog.store import Catalog
from polyfleet.plan.problem import Box, Floats, Option, Step, Supplier, packed_chips
from polyfleet.speed import SpeedModel
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.demand import Bucket
from polyfleet.terms.evidence import Band, Evidence
from polyfleet.terms.model import Model
from polyfleet.terms.offer import HostedOffer, Offer, Purchase
from polyfleet.terms.slo import Slo
from polyfleet.terms.spec import Policy, Workload
from polyfleet.terms.speed import Speed

FindModel = Callable[[str], Model]


@dataclass(slots=True)
class Reach:
    """What one workload's builds can do: a speed per bucket, under the promise and under the loosened one. A build that
    spans chips is another one on every link that joins them (`link_gb_s`, 0 = the chip's own)."""

    model: Model
    buckets: Sequence[Bucket]
    slo: Slo
    lost_slo: Slo
    speeds: dict[tuple[Build, float], tuple[tuple[Speed, ...], tuple[Speed, ...]]] = field(default_factory=dict)

    def of(
        self, speed: SpeedModel, chip: Chip, build: Build, link_gb_s: float = 0.0
    ) -> tuple[tuple[Speed, ...], tuple[Speed, ...]]:
        """Speeds of a build on chips joined by such a link, worked out once."""
        key = (build, link_gb_s if build.chips > 1 else 0.0)
        if key not in self.speeds:
            chip = _joined_by(chip, key[1])
            base = self._within_context(speed.capacity(self.model, chip, build, self.buckets, self.slo))
            lost = base
            if self.lost_slo != self.slo:
                lost = self._within_context(speed.capacity(self.model, chip, build, self.buckets, self.lost_slo))
            self.speeds[key] = (base, lost)
        return self.speeds[key]

    def too_long(self, b: int) -> bool:
        """Whether requests of bucket b are longer than the model's context."""
        bucket = self.buckets[b]
        return bucket.input_tokens + bucket.output_tokens > self.model.max_context_tokens

    def _within_context(self, speeds: tuple[Speed, ...]) -> tuple[Speed, ...]:
        return tuple(_NEVER if self.too_long(b) else s for b, s in enumerate(speeds))


def _joined_by(chip: Chip, link_gb_s: float) -> Chip:
    """The chip as a box joins it; a link slower than the chip's own is the box's PCIe, without the bridge."""
    if not link_gb_s:
        return chip
    name = "PCIe" if link_gb_s < chip.link_gb_s else chip.link_name
    return dataclasses.replace(chip, link_gb_s=link_gb_s, link_name=name)


def _odd_link(offer: Offer, chips: Mapping[str, Chip]) -> float:
    """GB/s of the link that joins an offer's chips; 0 where it is the chip's own, or joins nothing."""
    chip = chips.get(offer.chip)
    own = chip is None or offer.chips == 1 or offer.link_gb_s == chip.link_gb_s
    return 0.0 if own else offer.link_gb_s


_NEVER = Speed(Band(0.0, 0.0, 0.0), 0.0, 0.0, 0.0, Evidence.PHYSICS, "longer than the model's context")


def rentable(catalog: Catalog, policy: Policy) -> tuple[Box, ...]:
    """Boxes of the offers that the policy allows. Regions are kept apart only where a limit looks at them, boxes that
    join their chips by different links always."""
    by_region = policy.max_share.region is not None or (policy.survive is not None and "region" in policy.survive.lose)
    groups: dict[tuple[Supplier, str, int, Purchase, float], list[Offer]] = {}
    known = {o.region for o in catalog.offers}
    for offer in catalog.offers:
        if _is_allowed(offer, policy, known):
            supplier = Supplier(offer.provider, offer.chip_vendor, offer.region if by_region else "")
            link = _odd_link(offer, catalog.chips)
            groups.setdefault((supplier, offer.chip, offer.chips, offer.purchase, link), []).append(offer)
    return tuple(Box(*key[:4], _steps(offers)) for key, offers in sorted(groups.items()))


def _is_allowed(offer: Offer, policy: Policy, known: set[str]) -> bool:
    if policy.hosted == "only" or offer.purchase.term_years > policy.commit.max_term_years:
        return False
    if offer.purchase is Purchase.SPOT and policy.spot.max_share <= 0:
        return False
    out = policy.exclude
    if offer.chip in out.chip or offer.instance_type in out.instance_type:
        return False
    return supplier_allowed(offer, policy, known)


def supplier_allowed(offer: Offer | HostedOffer, policy: Policy, known: Iterable[str]) -> bool:
    """Whether the policy's regions and exclusions allow an offer."""
    out = policy.exclude
    if offer.provider in out.provider or offer.chip_vendor in out.chip_vendor:
        return False
    return not policy.regions or any(matches_region(offer, wanted, tuple(known)) for wanted in policy.regions)


def _steps(offers: list[Offer]) -> tuple[Step, ...]:
    """Offers by price, up to the first that has no limit: dearer ones can never be needed."""
    steps: list[Step] = []
    for offer in sorted(offers, key=lambda o: (o.usd_per_hour, o.id)):
        steps.append(Step(offer.id, offer.usd_per_hour, offer.quota_instances))
        if offer.quota_instances is None:
            break
    return tuple(steps)


def own_options(
    w: int, name: str, workload: Workload, reach: Reach, boxes: tuple[Box, ...], catalog: Catalog, speed: SpeedModel,
    policy: Policy,
) -> list[Option]:  # fmt: skip
    """A workload's builds on every box where at least one bucket can be served under the promise."""
    precisions = workload.precision or None
    largest: dict[str, int] = {}
    for box in boxes:
        largest[box.chip] = max(largest.get(box.chip, 0), box.chips)
    builds = {
        c: builds_for(reach.model, catalog.chips[c], precisions, n) for c, n in largest.items() if c in catalog.chips
    }
    spot = not policy.spot.within or name in policy.spot.within
    links = {offer.id: _odd_link(offer, catalog.chips) for offer in catalog.offers}
    found = []
    for b, box in enumerate(boxes):
        if box.purchase is Purchase.SPOT and not spot:
            continue
        for build in builds.get(box.chip, ()):
            speeds = reach.of(speed, catalog.chips[box.chip], build, links[box.steps[0].offer_id])
            option = _option(w, b, box, build, speeds, policy)
            if option is not None:
                found.append(option)
    return found


def _option(
    w: int, b: int, box: Box, build: Build, speeds: tuple[tuple[Speed, ...], tuple[Speed, ...]], policy: Policy
) -> Option | None:
    packed = packed_chips(build.chips, box.chips)
    base, lost = speeds
    capacity = _figures(base, policy)
    if not packed or not (capacity > 0).any():
        return None
    sure = [s.requests_per_s for s in base if getattr(s.requests_per_s, policy.speed) > 0]
    planned = sum(float(getattr(rate, policy.speed)) for rate in sure)
    band = (sum(rate.p10 for rate in sure) / planned, sum(rate.p90 for rate in sure) / planned)
    return Option(w, b, build, packed, capacity, np.maximum(_figures(lost, policy), capacity), band, base[0].evidence)


def _figures(speeds: Sequence[Speed], policy: Policy) -> Floats:
    """(B,) requests per second planned on; figures too small to matter count as none."""
    rates = np.array([getattr(s.requests_per_s, policy.speed) for s in speeds], dtype=float)
    return np.where(rates > 1e-6, rates, 0.0)


def seconds_in_flight(reach: Reach) -> Floats:
    """(B,) how long a request is in flight on a typical build that keeps the promise (Little's law), 0 where none."""
    held: list[list[float]] = [[] for _ in reach.buckets]
    for base, _ in reach.speeds.values():
        for b, s in enumerate(base):
            if s.requests_per_s.p50 > 1e-6:
                held[b].append(s.concurrency / s.requests_per_s.p50)
    return np.array([float(np.median(h)) if h else 0.0 for h in held])


def nearest_promise(reach: Reach, b: int) -> str:
    """The build that comes nearest to serving bucket b, and what it would keep."""
    best: tuple[float, str] | None = None
    for (build, _), (base, _) in sorted(reach.speeds.items()):
        s = base[b]
        if s.ttft_ms <= 0 and s.tpot_ms <= 0:
            continue  # does not fit in memory
        over = max(s.ttft_ms / reach.slo.ttft_ms if reach.slo.ttft_ms else 0.0,
                   s.tpot_ms / reach.slo.tpot_ms if reach.slo.tpot_ms else 0.0)  # fmt: skip
        if best is None or over < best[0]:
            best = (over, f"TTFT {s.ttft_ms:,.0f} ms and TPOT {s.tpot_ms:,.1f} ms on {build.label}")
    return best[1] if best else ""
