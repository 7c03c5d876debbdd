"""AWS's Savings Plans: what an hour costs under a commitment of one or three years."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin

from polyfleet.catalog.imports.aws_list import PREAMBLE, publication_date
from polyfleet.catalog.imports.fetch import Fetch
from polyfleet.catalog.imports.hosts import known_hosts
from polyfleet.catalog.imports.listed import Listed, Tally
from polyfleet.catalog.imports.numbers import price_of
from polyfleet.catalog.imports.stream import CsvRows, json_field, read_json
from polyfleet.catalog.regions import load_regions
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

INDEX = "https://pricing.us-east-1.amazonaws.com/savingsPlan/v1.0/aws/AWSComputeSavingsPlan/current/region_index.json"
_TERMS = {"1": Purchase.RESERVED_1Y, "3": Purchase.RESERVED_3Y}
_KINDS = {"EC2InstanceSavingsPlans": "EC2 instance savings plan", "ComputeSavingsPlans": "compute savings plan"}
_LINUX = "RunInstances"
_COLUMNS = (
    "DiscountedRate", "Currency", "Unit", "PurchaseOption", "LeaseContractLength", "LeaseContractLengthUnit",
    "Product Family", "DiscountedServiceCode", "DiscountedUsageType", "DiscountedOperation", "DiscountedRegionCode",
    "DiscountedInstanceType",
)  # fmt: skip


def addresses(fetch: Fetch, index: str = INDEX, regions: Iterable[str] = ()) -> tuple[str, ...]:
    """The CSV of each region that the catalog knows, or of those named. Raises CatalogError where one is not listed."""
    entries: list[Any] = json_field(read_json(fetch(index).chunks, index), "regions", list, index)
    listed = {
        json_field(entry, "regionCode", str, index): json_field(entry, "versionUrl", str, index) for entry in entries
    }
    known = [region for provider, region in load_regions() if provider == "aws"]
    wanted = list(regions) or [region for region in known if region in listed]
    if missing := [region for region in wanted if region not in listed]:
        raise CatalogError("AWS lists no such region", file=index, value=missing[0])
    return tuple(urljoin(index, listed[region].removesuffix(".json") + ".csv") for region in wanted)


def read(chunks: Iterable[bytes], url: str, tally: Tally) -> Iterator[Listed]:
    """Prices of Linux machines under plans with nothing up front; both kinds of plan where both stand there.

    Raises CatalogError.
    """
    rows = CsvRows(chunks, url, skip=PREAMBLE)
    as_of = publication_date(rows)
    rate, currency, unit, option, length, length_unit, family, service, usage, operation, region, kind = rows.columns(
        *_COLUMNS
    )
    hosts = {name for provider, name in known_hosts() if provider == "aws"}
    for cells in rows:
        tally.read += 1
        price = price_of(cells[rate])
        if cells[kind] not in hosts:
            tally.leave_out("no instance type that the catalog knows")
        elif cells[service] != "AmazonEC2" or "BoxUsage" not in cells[usage]:
            tally.leave_out("a dedicated machine, or another service", cells[usage])
        elif cells[operation] != _LINUX:
            tally.leave_out("another system than Linux")
        elif cells[option] != "No Upfront":
            tally.leave_out("something paid at once: the list does not tell how much")
        elif cells[length] not in _TERMS or cells[length_unit] != "year" or cells[family] not in _KINDS:
            tally.leave_out("another term or kind of plan", f"{cells[length]} {cells[length_unit]} {cells[family]}")
        elif price is None or cells[unit] != "Hrs" or cells[currency] != "USD":
            tally.leave_out("no price in USD by the hour", cells[kind])
        else:
            note = f"{_KINDS[cells[family]]}, nothing up front"
            yield Listed("aws", cells[region], cells[kind], _TERMS[cells[length]], price, url, as_of, note=note)
