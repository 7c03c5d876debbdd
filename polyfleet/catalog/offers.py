"""Rented offers: one per purchasable thing, from the packaged table."""

from __future__ import annotations

from functools import cache

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.reading import Row, optional_float, read_table
from polyfleet.catalog.regions import load_regions
from polyfleet.terms.offer import Offer, Purchase

UNPROVEN = "unproven"


@cache
def load_offers() -> tuple[Offer, ...]:
    """All rented offers by id, unproven ones among them (`quality` tells).

    `quality`: `exact` (a dated price list), `approx` (derived, or the cheapest of several zones), `undated` (`as_of` is
    empty), `unproven` (second-hand). `vcpus` and `memory_gib` are 0 where the source does not tell.
    """
    return tuple(_offer(row) for row in read_table("offers.csv"))


def offer_id(provider: str, region: str, instance_type: str, purchase: str) -> str:
    """The stable name of an offer: `aws:us-east-1:p5.48xlarge:on_demand`."""
    return f"{provider}:{region}:{instance_type}:{purchase}"


def _offer(row: Row) -> Offer:
    place = load_regions()[row["provider"], row["region"]]
    return Offer(
        id=offer_id(row["provider"], row["region"], row["instance_type"], row["purchase"]),
        provider=row["provider"],
        region=row["region"],
        continent=place["continent"],
        jurisdiction=place["jurisdiction"],
        instance_type=row["instance_type"],
        chip=row["chip"],
        chip_vendor=load_chips()[row["chip"]].vendor,
        chips=int(row["chips"]),
        domain_chips=int(row["domain_chips"]),
        link_gb_s=float(row["link_gb_s"]),
        vcpus=float(row["vcpus"]),
        memory_gib=float(row["memory_gib"]),
        purchase=Purchase(row["purchase"]),
        usd_per_hour=float(row["usd_per_hour"]),
        quota_instances=None,
        interruptions_per_month=optional_float(row["interruptions_per_month"]),
        source=row["source"],
        as_of=row["as_of"],
        quality=row["quality"],
        note=row["note"],
    )
