"""What a plan's machine may be rented as through SkyPilot: the plan's offer, and those as good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from polyfleet.catalog.images import load_clusters
from polyfleet.terms.fleet import PricedOffer
from polyfleet.terms.plan import Plan, Rental

_TPU = {"TPU-v4": "tpu-v4", "TPU-v5e": "tpu-v5litepod", "TPU-v5p": "tpu-v5p", "TPU-v6e": "tpu-v6e"}
_SPREAD_KINDS = ("share of provider", "share of region", "survive")


def offers_of(plan: Plan, rental: Rental) -> tuple[PricedOffer, ...]:
    """What a machine may be rented as, in the order to be tried; empty where SkyPilot rents none of it."""
    return tuple(
        PricedOffer(offer=offer, usd_per_hour=usd, resources=json.dumps(asked))
        for offer, usd, asked in rentable(plan, rental)
    )


def rentable(plan: Plan, rental: Rental) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """The rental's own offer, then the plan's equivalent ones, the cheapest first: name, USD an hour of the machine,
    and SkyPilot's resources. Those that SkyPilot does not rent are passed over."""
    for offer, usd in _equivalent(plan, rental):
        provider, region, rest = offer.split(":", 2)
        instance_type, purchase = rest.rsplit(":", 1)
        cloud = load_clusters()[provider].sky_cloud if provider in load_clusters() else ""
        machine = _machine(rental, instance_type)
        if cloud and machine:
            place = cloud if region in ("", "*") else f"{cloud}/{region}"
            yield offer, usd, {"infra": place, **machine, "use_spot": purchase == "spot"}


def _machine(rental: Rental, instance_type: str) -> dict[str, str]:
    """SkyPilot knows machines by instance type, TPUs by their slice; empty where it knows no such slice."""
    if not rental.chip.startswith("TPU"):
        return {"instance_type": instance_type}
    return {"accelerators": f"{_TPU[rental.chip]}-{rental.chips_per_instance}"} if rental.chip in _TPU else {}


def _equivalent(plan: Plan, rental: Rental) -> list[tuple[str, float]]:
    """Offers of the same chip and count that the plan could have rented, of the same purchase; after spot, those on
    demand. Where the plan limits what one supplier carries, another supplier would break that limit, so only the same
    one's are taken."""
    same_provider = any(limit.kind in _SPREAD_KINDS for limit in plan.limits)
    purchases = [rental.purchase, *(["on_demand"] if rental.purchase == "spot" else [])]
    found = [
        (purchases.index(box.purchase), usd, offer)
        for box in plan.problem.boxes
        if (box.chip, box.chips) == (rental.chip, rental.chips_per_instance) and box.purchase in purchases
        and (not same_provider or box.provider == rental.provider)
        for offer, usd, _ in box.steps if offer != rental.offer
    ]  # fmt: skip
    return [(rental.offer, rental.usd_per_hour), *((offer, usd) for _, usd, offer in sorted(found))]
