"""What can be bought: instances by the hour, and models by the token."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Purchase(StrEnum):
    """How an offer is bought."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED_1Y = "reserved_1y"
    RESERVED_3Y = "reserved_3y"
    CAPACITY_BLOCK = "capacity_block"
    PER_TOKEN = "per_token"

    @property
    def term_years(self) -> int:
        """Years one is bound; 0 = by the hour."""
        return {"reserved_1y": 1, "reserved_3y": 3}.get(self.value, 0)

    @property
    def committed(self) -> bool:
        """Paid for every hour of the month whether used or not."""
        return self.term_years > 0


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance type that can be rented by the hour.

    `chips` whole chips in one instance, joined by `link_gb_s` per direction in a domain of `domain_chips`; price is
    for the whole instance. `quota_instances` None = none known (a listed price is no promise of capacity).
    `interruptions_per_month` is set for spot where it is known.
    """

    id: str
    provider: str
    region: str
    continent: str
    jurisdiction: str
    instance_type: str
    chip: str
    chip_vendor: str
    chips: int
    domain_chips: int
    link_gb_s: float
    vcpus: float
    memory_gib: float
    purchase: Purchase
    usd_per_hour: float
    quota_instances: int | None
    interruptions_per_month: float | None
    source: str
    as_of: str
    quality: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class HostedOffer:
    """A model sold by the token. Prices in USD per million tokens; capacity limits None = not published.

    `chip_vendor` is what the host says it runs on; where it does not say, `chip_vendor_evidence` is `assumed`.
    """

    id: str
    provider: str
    model: str
    region: str
    continent: str
    jurisdiction: str
    chip_vendor: str
    chip_vendor_evidence: str
    usd_per_million_input: float
    usd_per_million_output: float
    usd_per_million_cached_input: float | None
    usd_per_million_batch_input: float | None
    usd_per_million_batch_output: float | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    tokens_per_minute: float | None
    requests_per_minute: float | None
    source: str
    as_of: str
    quality: str
    note: str = ""
