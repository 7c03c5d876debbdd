"""AWS's price list of EC2: CSVs of gigabytes, one per region, read as they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from polyfleet.catalog.imports.fetch import Fetch
from polyfleet.catalog.imports.hosts import known_hosts
from polyfleet.catalog.imports.listed import Listed, Tally
from polyfleet.catalog.imports.numbers import figure, price_of
from polyfleet.catalog.imports.stream import CsvRows, json_field, read_json
from polyfleet.catalog.regions import load_regions
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

INDEX = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/region_index.json"
PREAMBLE = 5
_HOURS_A_YEAR = 8760
# What a row must say to be the plain price of a Linux machine.
_PLAIN = (
    ("Location Type", "AWS Region", "a Local Zone: small opt-in edge sites"),
    ("Tenancy", "Shared", "a dedicated machine or host"),
    ("Operating System", "Linux", "another system than Linux"),
    ("Pre Installed S/W", "NA", "with licensed software"),
    ("CapacityStatus", "Used", "a capacity reservation"),
    ("MarketOption", "OnDemand", "a capacity block"),
    ("Currency", "USD", "a price that is not in USD"),
)
_TERMS = {"1yr": (Purchase.RESERVED_1Y, 1), "3yr": (Purchase.RESERVED_3Y, 3)}
_UPFRONT = ("No Upfront", "Partial Upfront", "All Upfront")
_COLUMNS = (
    "SKU", "OfferTermCode", "TermType", "Unit", "PricePerUnit", "LeaseContractLength", "PurchaseOption",
    "OfferingClass", "Instance Type", "Instance Family", "vCPU", "Memory", "GPU", "Region Code",
)  # fmt: skip


@dataclass(slots=True)
class _Reserved:
    """The two rows of a reservation: by the hour, and at once."""

    region: str
    kind: str
    term: str
    option: str
    hourly: float = 0.0
    upfront: float = 0.0
    whole: set[str] = field(default_factory=set)


def addresses(fetch: Fetch, index: str = INDEX, regions: Iterable[str] = ()) -> tuple[str, ...]:
    """The CSV of each region that the catalog knows, or of those named. Raises CatalogError where one is not listed."""
    listed: dict[str, Any] = json_field(read_json(fetch(index).chunks, index), "regions", dict, index)
    known = [region for provider, region in load_regions() if provider == "aws"]
    wanted = list(regions) or [region for region in known if region in listed]
    if missing := [region for region in wanted if region not in listed]:
        raise CatalogError("AWS lists no such region", file=index, value=missing[0])
    paths = [json_field(listed[region], "currentVersionUrl", str, index) for region in wanted]
    return tuple(urljoin(index, path.removesuffix(".json") + ".csv") for path in paths)


def publication_date(rows: CsvRows) -> str:
    """The day in the list's preamble. Raises CatalogError where the preamble is another."""
    told = {line[0]: line[1] for line in rows.preamble if len(line) == 2}
    if "Publication Date" not in told:
        raise CatalogError("Publication Date is missing: has the list changed its form?", file=rows.file)
    return told["Publication Date"][:10]


def read(chunks: Iterable[bytes], url: str, tally: Tally) -> Iterator[Listed]:
    """On-demand prices, and reservations of the standard class with the least up front.

    A reservation's price is its hourly price and what is paid at once spread over the term. Raises CatalogError.
    """
    rows = CsvRows(chunks, url, skip=PREAMBLE)
    as_of = publication_date(rows)
    sku, code, term, unit, price, length, option, offering, kind, _, _, _, _, region = rows.columns(*_COLUMNS)
    plain = [(rows.column(name), value, reason) for name, value, reason in _PLAIN]
    unknown = _Unknown(rows)
    reserved: dict[tuple[str, str], _Reserved] = {}
    hosts = {name for provider, name in known_hosts() if provider == "aws"}
    for cells in rows:
        tally.read += 1
        if cells[kind] not in hosts:
            unknown.count(cells, tally)
        elif reason := next((why for at, value, why in plain if cells[at] != value), ""):
            tally.leave_out(reason, cells[kind])
        elif (amount := figure(cells[price])) is None:
            tally.leave_out("a price that is no number", cells[price])
        elif cells[term] == "OnDemand" and cells[unit] == "Hrs" and amount:
            yield Listed("aws", cells[region], cells[kind], Purchase.ON_DEMAND, amount, url, as_of)
        elif cells[term] == "Reserved" and cells[offering] == "standard":
            found = _Reserved(cells[region], cells[kind], cells[length], cells[option])
            _add(reserved.setdefault((cells[sku], cells[code]), found), cells[unit], amount)
        else:
            tally.leave_out("no price by the hour" if cells[term] == "OnDemand" else "a convertible reservation")
    yield from _reservations(reserved.values(), url, as_of, tally)


class _Unknown:
    """Rows of instance types that the catalog does not know: with chips they are shown, without they do not matter."""

    def __init__(self, rows: CsvRows) -> None:
        self._kind, self._family, self._gpus = rows.columns("Instance Type", "Instance Family", "GPU")

    def count(self, cells: list[str], tally: Tally) -> None:
        chips = price_of(cells[self._gpus]) or "Machine Learning" in cells[self._family]
        if chips:
            tally.leave_out("an instance type that the catalog does not know, and no chip told", cells[self._kind])
        else:
            tally.leave_out("no chips")


def _add(found: _Reserved, unit: str, amount: float) -> None:
    found.whole.add(unit)
    if unit == "Hrs":
        found.hourly = amount
    else:
        found.upfront = amount


def _reservations(found: Iterable[_Reserved], url: str, as_of: str, tally: Tally) -> Iterator[Listed]:
    """Of each offer the reservation with the least up front."""
    best: dict[tuple[str, str, str], _Reserved] = {}
    for one in found:
        needed = {"No Upfront": {"Hrs"}, "All Upfront": {"Quantity"}, "Partial Upfront": {"Hrs", "Quantity"}}
        if one.term not in _TERMS or one.option not in _UPFRONT:
            tally.leave_out("a reservation of another term", f"{one.term} {one.option}")
        elif not needed[one.option] <= one.whole:
            tally.leave_out("half of a reservation's two rows", one.kind)
        else:
            key = one.region, one.kind, one.term
            best[key] = min(best.get(key, one), one, key=lambda r: _UPFRONT.index(r.option))
    for one in best.values():
        purchase, years = _TERMS[one.term]
        effective = one.hourly + one.upfront / (_HOURS_A_YEAR * years)
        if effective:
            note = f"standard reserved instance, {one.option.lower()}"
            yield Listed("aws", one.region, one.kind, purchase, effective, url, as_of, note=note)
