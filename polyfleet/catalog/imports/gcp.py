"""Google's Cloud Billing Catalog: prices of parts (cores, memory, chips), added up to those of whole machines.

It needs an API key, which is read from the environment only and sent in a header, so that no address ever holds it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from polyfleet.catalog.imports.fetch import Fetch
from polyfleet.catalog.imports.gcp_parts import Part, part_of, parts_of
from polyfleet.catalog.imports.hosts import known_hosts
from polyfleet.catalog.imports.listed import Listed, Tally
from polyfleet.catalog.imports.stream import json_field, read_json
from polyfleet.catalog.regions import load_regions
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

KEY = "POLYFLEET_GCP_API_KEY"
COMPUTE = "6F81-5844-456A"
ADDRESS = "https://cloudbilling.googleapis.com/v1/services/{service}/skus"
_MOST_PAGES = 500
_PRINTABLE = re.compile(r"^[!-~]+$")
Prices = dict[tuple[Part, str, Purchase], float]


def api_key() -> str:
    """The key. Raises CatalogError, without its value, where there is none or it cannot be one."""
    key = os.environ.get(KEY, "")
    if not _PRINTABLE.match(key):
        problem = "holds characters that no key has" if key else "is not set"
        raise CatalogError(f"{KEY} {problem}", hint="Google's price list needs an API key of a project of yours")
    return key


def fetch_skus(fetch: Fetch, key: str) -> Iterator[dict[str, Any]]:
    """The parts of all pages. Raises CatalogError where a page repeats or a field is missing."""
    address = ADDRESS.format(service=COMPUTE)
    asked: set[str] = set()
    token = ""
    while True:
        if token in asked or len(asked) >= _MOST_PAGES:
            raise CatalogError(f"page {len(asked) + 1} leads to a page that was read already", file=address)
        asked.add(token)
        url = f"{address}?pageSize=5000" + (f"&pageToken={quote(token, safe='')}" if token else "")
        document = read_json(fetch(url, {"X-Goog-Api-Key": key}).chunks, address)
        yield from json_field(document, "skus", list, address)
        token = json_field(document, "nextPageToken", str, address)
        if not token:
            return


def read(skus: Iterable[dict[str, Any]], as_of: str, tally: Tally, file: str = "") -> Iterator[Listed]:
    """Prices of the machines that the catalog knows, where every part has one. Raises CatalogError.

    Local disks that some machines must have are not among the parts.
    """
    url = file or ADDRESS.format(service=COMPUTE)
    prices = _prices(skus, tally, url)
    regions = [region for provider, region in load_regions() if provider == "gcp"]
    for (provider, kind), host in known_hosts().items():
        if provider != "gcp":
            continue
        parts = parts_of(kind, host)
        if not parts:
            tally.leave_out("a machine whose parts are not known", kind)
            continue
        for region in regions:
            for purchase in (Purchase.ON_DEMAND, Purchase.SPOT, Purchase.RESERVED_1Y, Purchase.RESERVED_3Y):
                found = [prices.get((part, region, purchase)) for part, _ in parts]
                total = sum(price * n for price, (_, n) in zip(found, parts, strict=True) if price is not None)
                if None not in found and total:
                    note = "committed-use discount" if purchase.committed else ""
                    yield Listed("gcp", region, kind, purchase, total, url, as_of, note=note)
                elif any(price is not None for price in found):
                    tally.leave_out("a machine of which a part has no price", f"{kind} {region} {purchase}")


def _prices(skus: Iterable[dict[str, Any]], tally: Tally, file: str) -> Prices:
    """By part, region and purchase, the dearest where several stand there: no price is called lower than it is."""
    prices: Prices = {}
    for sku in skus:
        tally.read += 1
        category = json_field(sku, "category", dict, file)
        usage = json_field(category, "usageType", str, file)
        group = json_field(category, "resourceGroup", str, file)
        found = part_of(json_field(sku, "description", str, file), group, usage)
        if found is None:
            tally.leave_out("no part of a machine that the catalog knows")
            continue
        price = _unit_price(sku, file)
        if price is None:
            tally.leave_out("no single price in USD by the hour", sku["description"][:60])
            continue
        for region in json_field(sku, "serviceRegions", list, file):
            key = found[0], str(region), found[1]
            prices[key] = max(price, prices.get(key, 0.0))
    return prices


def _unit_price(sku: Any, file: str) -> float | None:
    """USD per hour of one core, GiB or chip; None where the price has steps or another unit."""
    infos = json_field(sku, "pricingInfo", list, file)
    if not infos:
        return None
    expression = json_field(infos[-1], "pricingExpression", dict, file)
    unit, rates = json_field(expression, "usageUnit", str, file), json_field(expression, "tieredRates", list, file)
    if unit not in {"h", "GiBy.h"} or len(rates) != 1:
        return None
    price = json_field(rates[0], "unitPrice", dict, file)
    if price.get("currencyCode") != "USD":
        return None
    units, nanos = price.get("units", "0"), price.get("nanos", 0)
    if not re.fullmatch(r"\d{1,9}", str(units)) or not isinstance(nanos, int):
        raise CatalogError("a price that is no number", file=file, value=f"{units} {nanos}")
    return int(units) + nanos / 1e9
