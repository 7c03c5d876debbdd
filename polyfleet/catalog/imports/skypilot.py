"""SkyPilot's hosted catalogs: one CSV per cloud. Its columns are read by name, for order and set differ by cloud."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from polyfleet.catalog.imports.fetch import Answer, Fetch, FetchError
from polyfleet.catalog.imports.hosts import known_hosts
from polyfleet.catalog.imports.listed import Listed, Tally, cheapest_of_zones
from polyfleet.catalog.imports.numbers import figure, price_of
from polyfleet.catalog.imports.skypilot_gcp import joined
from polyfleet.catalog.imports.stream import CsvRows
from polyfleet.terms.offer import Purchase

CLOUDS = ("aws", "azure", "gcp", "lambda", "nebius", "oci", "hyperstack", "vast")
SCHEMA = "v8"
ADDRESS = "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/{schema}/{cloud}/vms.csv"
FALLBACK = "https://skypilot-catalog.s3.us-east-1.amazonaws.com/catalogs/{schema}/{cloud}/vms.csv"
COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Region", "Price", "SpotPrice")
_NO_SPOT = 0.95  # of on-demand: the fetcher fills in the on-demand price where there is no spot price
_EDGE_ZONE = re.compile(r"^[a-z]+\d+-[a-z]+\d+-az\d+$")


def fetch_cloud(fetch: Fetch, cloud: str) -> Answer:
    """The list of one cloud; where the first address is asked too often, from the second, as SkyPilot's client does."""
    try:
        return fetch(ADDRESS.format(schema=SCHEMA, cloud=cloud))
    except FetchError as error:
        if error.status != 429:
            raise
        return fetch(FALLBACK.format(schema=SCHEMA, cloud=cloud))


def read(chunks: Iterable[bytes], cloud: str, url: str, as_of: str, tally: Tally) -> Iterator[Listed]:
    """On-demand and spot prices of one cloud's list, zones of a region made one. Raises CatalogError."""
    prices = _prices(CsvRows(chunks, url, loose_last="Generation"), cloud, url, as_of, tally)
    yield from cheapest_of_zones(joined(prices, tally) if cloud == "gcp" else prices)


def _prices(rows: CsvRows, cloud: str, url: str, as_of: str, tally: Tally) -> Iterator[Listed]:
    kind, name, count, region, usual, spot = rows.columns(*COLUMNS)
    info, vcpus, memory = (rows.optional(c) for c in ("GpuInfo", "vCPUs", "MemoryGiB"))
    zone = rows.optional("AvailabilityZone")
    for cells in rows:
        tally.read += 1
        if zone is not None and _EDGE_ZONE.match(cells[zone]):
            tally.leave_out("a Local Zone: small opt-in edge sites", cells[zone])
            continue
        if cloud != "gcp" and not cells[name] and (cloud, cells[kind]) not in known_hosts():
            tally.leave_out("no chips named")
            continue
        chips = figure(cells[count])
        if cells[count] and chips is None:
            tally.leave_out("a count of chips that is no number", cells[count])
            continue
        of_spot, of_hour = price_of(cells[spot]), price_of(cells[usual])
        if of_spot and of_hour and of_spot >= _NO_SPOT * of_hour and cloud != "gcp":
            tally.leave_out("a spot price equal to on-demand: no spot price", cells[kind])
            of_spot = None
        for purchase, price in ((Purchase.ON_DEMAND, of_hour), (Purchase.SPOT, of_spot)):
            if price is None and cloud != "gcp":
                continue
            yield Listed(
                cloud, cells[region], cells[kind], purchase, price or 0.0, url, as_of, cells[name], chips or None,
                _gib(cells[info]) if info is not None and cells[name] else 0.0,
                (figure(cells[vcpus]) or 0.0) if vcpus is not None else 0.0,
                (figure(cells[memory]) or 0.0) if memory is not None else 0.0,
                cells[zone] if zone is not None and cloud == "gcp" else "",
            )  # fmt: skip


def _gib(info: str) -> float:
    """Memory in a GpuInfo cell, a Python literal; 0 where it has none: some clouds put a bare name there."""
    found = re.search(r"'SizeInMiB':\s*(\d{1,9})\b", info)
    return int(found[1]) / 1024 if found else 0.0
