"""The spot advisor's rates, laid into the user's rows of spot offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

from polyfleet.catalog.imports.listed import Row, Tally
from polyfleet.catalog.imports.merge import Merged, written_by
from polyfleet.catalog.imports.spot_advisor import Band
from polyfleet.catalog.offers import load_offers, offer_id
from polyfleet.terms.offer import Offer, Purchase


def lay_rates(merged: Merged, bands: Iterable[Band], source: str, as_of: str, tally: Tally) -> None:
    """Set `interruptions_per_month` of spot offers that have a price; price, source and date of it stay.

    A rate that the user's own row states stays. A type without a spot price is counted.
    """
    for band in bands:
        name = offer_id("aws", band.region, band.instance_type, Purchase.SPOT)
        row = merged.rows.get(name)
        if row is not None and not written_by(row) and "interruptions_per_month" in row:
            tally.leave_out("a rate of your own row stays", name)
            continue
        if row is None and name not in _listed():
            tally.leave_out(
                "no spot price of it: read a list with spot prices first", f"{band.region} {band.instance_type}"
            )
            continue
        before = row if row is not None else _copied(_listed()[name])
        kept = [part for part in before.get("note", "").split("; ") if part and not part.startswith("spot advisor ")]
        note = "; ".join([*kept, f"spot advisor {as_of}: {band.label} a month ({source})"])
        merged.rows[name] = {**before, "interruptions_per_month": f"{band.interruptions_per_month:.4g}", "note": note}
        merged.rates += 1


def _copied(offer: Offer) -> Row:
    """A packaged offer's price as a row, so that a rate can stand beside it."""
    note = "; ".join(part for part in ("spot-advisor list", offer.note) if part)
    cells = {
        "id": offer.id, "chip": offer.chip, "chips": str(offer.chips), "usd_per_hour": f"{offer.usd_per_hour:.12g}",
        "source": offer.source, "as_of": offer.as_of, "note": note,
    }  # fmt: skip
    return {name: cell for name, cell in cells.items() if cell}


@cache
def _listed() -> Mapping[str, Offer]:
    return MappingProxyType({o.id: o for o in load_offers() if o.purchase is Purchase.SPOT and o.provider == "aws"})
