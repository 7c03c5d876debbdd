"""The user's own token prices laid over the hosted offers."""

from __future__ import annotations

from dataclasses import replace

from polyfleet.catalog.overlay import OverlayRow
from polyfleet.terms.offer import HostedOffer


def lay_over_hosted(hosted: tuple[HostedOffer, ...], rows: tuple[OverlayRow, ...]) -> tuple[HostedOffer, ...]:
    """Hosted offers with the user's rows of token prices laid over them, by id.

    Raises CatalogError where a new offer does not tell where its region lies.
    """
    laid = {offer.id: offer for offer in hosted}
    vendors = {offer.provider: (offer.chip_vendor, offer.chip_vendor_evidence) for offer in hosted}
    for row in rows:
        if row.by_token:
            listed = laid.get(row.id)
            laid[row.id] = _changed(listed, row) if listed else _new(row, vendors)
    return tuple(laid[name] for name in sorted(laid))


def _changed(listed: HostedOffer, row: OverlayRow) -> HostedOffer:
    cells = {"as_of": "", "source": f"{row.file} line {row.line}", **row.cells}
    if "chip_vendor" in cells:
        cells["chip_vendor_evidence"] = "assumed"
    return replace(listed, **cells, quality="user")


def _new(row: OverlayRow, vendors: dict[str, tuple[str, str]]) -> HostedOffer:
    """A new offer runs on the chips that its host's other offers run on, NVIDIA's where the catalog lists none."""
    provider, region, model, _ = row.key
    continent, jurisdiction = row.place
    cells = row.cells
    vendor, evidence = vendors.get(provider, ("nvidia", "assumed"))
    if "chip_vendor" in cells:
        vendor, evidence = cells["chip_vendor"], "assumed"
    return HostedOffer(
        id=row.id,
        provider=provider,
        model=model,
        region=region,
        continent=continent,
        jurisdiction=jurisdiction,
        chip_vendor=vendor,
        chip_vendor_evidence=evidence,
        usd_per_million_input=cells["usd_per_million_input"],
        usd_per_million_output=cells["usd_per_million_output"],
        usd_per_million_cached_input=cells.get("usd_per_million_cached_input"),
        usd_per_million_batch_input=cells.get("usd_per_million_batch_input"),
        usd_per_million_batch_output=cells.get("usd_per_million_batch_output"),
        max_input_tokens=None,
        max_output_tokens=None,
        tokens_per_minute=cells.get("tokens_per_minute"),
        requests_per_minute=cells.get("requests_per_minute"),
        source=cells.get("source", f"{row.file} line {row.line}"),
        as_of=cells.get("as_of", ""),
        quality="user",
        note=cells.get("note", ""),
    )
