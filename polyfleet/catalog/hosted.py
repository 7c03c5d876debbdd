"""Models sold by the token, joined to canonical model names."""

from __future__ import annotations

from functools import cache

from polyfleet.catalog.reading import Row, optional_float, optional_int, read_table
from polyfleet.terms.offer import HostedOffer


@cache
def load_hosted() -> tuple[HostedOffer, ...]:
    """All hosted offers, unproven ones among them (`quality` tells).

    Open models bear their Hugging Face name, closed ones `maker/model`. `region` is a cloud's region, a block of the
    world, `global` (may be served anywhere) or `*` (the host's home, as its continent tells). A company that rents
    chips too bears the same provider name in both tables: `aws` is Bedrock, `azure` Foundry, `gcp` Vertex AI.
    """
    return tuple(_offer(row) for row in read_table("hosted.csv"))


def sold_as(model: str) -> str:
    """The name under which hosts sell a model: a quantised copy or another spelling goes by its original's name."""
    return _original_names().get(model, model)


@cache
def _original_names() -> dict[str, str]:
    return {row["name"]: row["sold_as"] for row in read_table("sold_as.csv")}


def hosted_id(provider: str, region: str, model: str) -> str:
    """The stable name of a hosted offer: `aws:us:openai/gpt-oss-120b:per_token`."""
    return f"{provider}:{region}:{model}:per_token"


def _offer(row: Row) -> HostedOffer:
    return HostedOffer(
        id=hosted_id(row["provider"], row["region"], row["model"]),
        provider=row["provider"],
        model=row["model"],
        region=row["region"],
        continent=row["continent"],
        jurisdiction=row["jurisdiction"],
        chip_vendor=row["chip_vendor"],
        chip_vendor_evidence=row["chip_vendor_evidence"],
        usd_per_million_input=float(row["usd_per_million_input"]),
        usd_per_million_output=float(row["usd_per_million_output"]),
        usd_per_million_cached_input=optional_float(row["usd_per_million_cached_input"]),
        usd_per_million_batch_input=optional_float(row["usd_per_million_batch_input"]),
        usd_per_million_batch_output=optional_float(row["usd_per_million_batch_output"]),
        max_input_tokens=optional_int(row["max_input_tokens"]),
        max_output_tokens=optional_int(row["max_output_tokens"]),
        tokens_per_minute=optional_float(row["tokens_per_minute"]),
        requests_per_minute=optional_float(row["requests_per_minute"]),
        source=row["source"],
        as_of=row["as_of"],
        quality=row["quality"],
        note=row["note"],
    )
