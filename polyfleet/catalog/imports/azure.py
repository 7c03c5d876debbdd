"""Azure's Retail Prices: pages of JSON, no key needed. Spot, savings plans and reservations stand beside on-demand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from polyfleet.catalog.imports.fetch import Fetch
from polyfleet.catalog.imports.listed import Listed, Tally
from polyfleet.catalog.imports.numbers import price_of
from polyfleet.catalog.imports.stream import json_field, read_json
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

ADDRESS = "https://prices.azure.com/api/retail/prices"
_VERSION = "2023-01-01-preview"  # savings plans stand in this version only
_SERIES = ("Standard_NC", "Standard_ND", "Standard_NV")
HOURS = {"1 Year": 8760, "3 Years": 26280}
_TERMS = {"1 Year": Purchase.RESERVED_1Y, "3 Years": Purchase.RESERVED_3Y}
_MOST_PAGES = 5000
_WINDOWS = re.compile(r" win(dows)?$", re.IGNORECASE)
_OTHER_PRODUCTS = ("CloudServices", "Cloud Services", "Dedicated Host")
_Rank = tuple[str, bool, float]


def addresses(regions: Iterable[str] = ()) -> tuple[str, ...]:
    """The first pages: one list per series of machines with accelerators (N...), in all regions or in those named."""
    made = []
    for series in _SERIES:
        for region in tuple(regions) or ("",):
            wanted = f"serviceName eq 'Virtual Machines' and contains(armSkuName, '{series}')"
            wanted += f" and armRegionName eq '{region}'" if region else ""
            made.append(f"{ADDRESS}?api-version={_VERSION}&currencyCode='USD'&$filter={quote(wanted)}")
    return tuple(made)


def fetch_items(fetch: Fetch, url: str) -> Iterator[dict[str, Any]]:
    """The items of all pages from this one on. Raises CatalogError where a page repeats, leads to another host, or
    holds fewer items than it says."""
    seen: set[bytes] = set()
    asked: set[str] = set()
    following: str | None = url
    while following:
        if following in asked or len(asked) >= _MOST_PAGES:
            raise CatalogError(f"page {len(asked) + 1} leads to a page that was read already", file=ADDRESS)
        asked.add(following)
        items, after = page(read_json(fetch(following).chunks, ADDRESS), ADDRESS)
        mark = hashlib.sha256(repr(items).encode()).digest()
        if mark in seen and items:
            raise CatalogError(f"page {len(asked)} repeats an earlier page: the list is not whole", file=ADDRESS)
        seen.add(mark)
        yield from items
        following = _same_host(after, url) if after else None


def page(document: Any, file: str) -> tuple[list[dict[str, Any]], str | None]:
    """Items and the address of the next page. Raises CatalogError that names a missing field."""
    items = json_field(document, "Items", list, file)
    count = json_field(document, "Count", int, file)
    if count != len(items):
        raise CatalogError(f"the page says {count} items and has {len(items)}: it is cut short", file=file)
    return items, json_field(document, "NextPageLink", (str, type(None)), file)


def read(items: Iterable[dict[str, Any]], as_of: str, tally: Tally, file: str = ADDRESS) -> Iterator[Listed]:
    """Prices of Linux machines. Of several records of one price the newest counts, then the primary, then the dearer.

    A reservation's price is the total of its term: it is divided by the term's hours. Where a savings plan and a
    reservation bind for as long, the cheaper is the price. Raises CatalogError that names a missing field.
    """
    best: dict[tuple[str, str, Purchase, str], tuple[_Rank, float]] = {}
    for item in items:
        tally.read += 1
        if reason := _unfit(item, as_of, file):
            tally.leave_out(reason, str(item.get("armSkuName", ""))[:60])
            continue
        rank = str(item.get("effectiveStartDate", "")), item.get("isPrimaryMeterRegion") is True
        for purchase, price, note in _prices(item, tally, file):
            key = item["armRegionName"], item["armSkuName"], purchase, note
            best[key] = max(best.get(key, ((*rank, price), price)), ((*rank, price), price))
    for (region, sku, purchase, note), (_, price) in best.items():
        yield Listed("azure", region, sku, purchase, price, file, as_of, note=note)


def _unfit(item: Any, as_of: str, file: str) -> str:
    sku = json_field(item, "armSkuName", str, file)
    product, meter = json_field(item, "productName", str, file), json_field(item, "meterName", str, file)
    json_field(item, "armRegionName", str, file)
    low = (meter.endswith("Low Priority"), str(item.get("skuName", "")).endswith("Low Priority"))
    against = (
        (json_field(item, "currencyCode", str, file) != "USD", "a price that is not in USD"),
        (json_field(item, "unitOfMeasure", str, file) != "1 Hour", "a price that is not by the hour"),
        (_WINDOWS.search(product), "Windows"),
        (any(other in product for other in _OTHER_PRODUCTS), "no plain virtual machine"),
        (any(low), "low priority: the old form of spot"),
        (not sku or not item["armRegionName"], "no name or no region"),
        (str(item.get("effectiveStartDate", ""))[:10] > as_of, "a price of the future"),
        (price_of(item.get("tierMinimumUnits")), "a price of further hours"),
    )
    return next((reason for true, reason in against if true), "")


def _prices(item: dict[str, Any], tally: Tally, file: str) -> Iterator[tuple[Purchase, float, str]]:
    kind, price = json_field(item, "type", str, file), price_of(json_field(item, "retailPrice", (int, float), file))
    term = item.get("reservationTerm")
    if price is None:
        tally.leave_out("no price", item["armSkuName"])
    elif kind == "Reservation":
        if term not in HOURS:
            tally.leave_out("a reservation of another term", str(term))
            return
        yield _TERMS[term], price / HOURS[term], "reservation: total of the term over its hours"
    elif kind != "Consumption":
        tally.leave_out("another kind of price", kind)
    elif item["meterName"].endswith("Spot") or str(item.get("skuName", "")).endswith("Spot"):
        yield Purchase.SPOT, price, ""
    else:
        yield Purchase.ON_DEMAND, price, ""
        yield from _savings(item, tally)


def _savings(item: dict[str, Any], tally: Tally) -> Iterator[tuple[Purchase, float, str]]:
    plans = item.get("savingsPlan")
    for plan in plans if isinstance(plans, list) else ():
        term = plan.get("term") if isinstance(plan, dict) else None
        price = price_of(plan.get("retailPrice")) if isinstance(plan, dict) else None
        if not isinstance(term, str) or term not in _TERMS or price is None:
            tally.leave_out("a savings plan that is not understood", item["armSkuName"])
        else:
            yield _TERMS[term], price, "savings plan"


def _same_host(link: str, first: str) -> str:
    if urlsplit(link).hostname != urlsplit(first).hostname:
        raise CatalogError("the next page lies on another host", file=ADDRESS, value=link.partition("?")[0])
    return link.replace(" ", "%20")
