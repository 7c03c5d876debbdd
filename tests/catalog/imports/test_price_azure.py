"""Azure's Retail Prices: true records, and pages from a server on loopback."""

import copy
import json
from urllib.parse import urlsplit

import pytest

from polyfleet.catalog.imports import azure
from polyfleet.catalog.imports.fetch import HttpFetch, via_mirror
from polyfleet.catalog.imports.listed import Tally
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

TODAY = "2026-11-24"
PATH = urlsplit(azure.ADDRESS).path


@pytest.fixture
def items(sample):
    return json.loads(sample("azure_retail_prices.json"))["Items"]


def read(items, tally=None):
    return {
        (p.instance_type, p.region, p.purchase, p.note): p.usd_per_hour
        for p in azure.read(items, TODAY, tally or Tally())
    }


def page(items, link):
    return json.dumps({"Items": items, "NextPageLink": link, "Count": len(items)}).encode()


def test_the_records_of_one_machine_become_its_five_prices(items):
    found = read(items[:2])
    kind = "Standard_B16als_v2", "australiacentral"
    reservation = "reservation: total of the term over its hours"
    assert found == {
        (*kind, Purchase.ON_DEMAND, ""): 0.673,
        (*kind, Purchase.RESERVED_1Y, "savings plan"): 0.49129,
        (*kind, Purchase.RESERVED_3Y, "savings plan"): 0.34323,
        (*kind, Purchase.RESERVED_1Y, reservation): pytest.approx(3478 / 8760),  # 0.397: not 3,478 an hour
    }


def test_windows_is_left_out_and_spot_is_spot(items):
    tally = Tally()
    kind = "Standard_ND96isr_H100_v5", "eastus"
    assert read(items[2:], tally) == {(*kind, Purchase.ON_DEMAND, ""): 98.32, (*kind, Purchase.SPOT, ""): 18.169536}
    assert tally.left_out == {"Windows": 2}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"productName": "Virtual Machines NCC H100 v5 Series Win"}, "Windows"),
        ({"productName": "NCsv3 Series CloudServices"}, "no plain virtual machine"),
        ({"meterName": "NC6s v3 Low Priority"}, "low priority: the old form of spot"),
        ({"currencyCode": "EUR"}, "a price that is not in USD"),
        ({"unitOfMeasure": "1 Month"}, "a price that is not by the hour"),
        ({"effectiveStartDate": "2027-01-01T00:00:00Z"}, "a price of the future"),
        ({"tierMinimumUnits": 100.0}, "a price of further hours"),
        ({"type": "DevTestConsumption"}, "another kind of price"),
        ({"retailPrice": 0.0}, "no price"),
        ({"type": "Reservation", "reservationTerm": "5 Years"}, "a reservation of another term"),
    ],
)
def test_what_is_no_plain_price_is_counted_by_reason(items, change, reason):
    tally = Tally()
    assert read([items[2] | change], tally) == {}
    assert tally.left_out == {reason: 1}


def test_of_two_records_of_one_price_the_newest_counts_then_the_primary(items):
    old, new = ({"effectiveStartDate": f"{year}-01-01T00:00:00Z"} for year in (2024, 2026))
    records = [
        items[2] | new | {"retailPrice": 90.0, "isPrimaryMeterRegion": True},
        items[2] | new | {"retailPrice": 95.0, "isPrimaryMeterRegion": False},
        items[2] | old | {"retailPrice": 99.0, "isPrimaryMeterRegion": True},
    ]
    assert list(read(records).values()) == list(read(records[::-1]).values()) == [90.0]


@pytest.mark.parametrize("name", ["armSkuName", "meterName", "retailPrice", "type", "unitOfMeasure", "currencyCode"])
def test_a_field_that_is_gone_or_renamed_is_named(items, name):
    item = copy.deepcopy(items[2])
    item["renamed"] = item.pop(name)
    with pytest.raises(CatalogError, match=f"the field {name} is missing"):
        read([item])


@pytest.fixture
def fetch(prices):
    return via_mirror(HttpFetch(timeout_s=5, wait=lambda _s: None), prices.url)


def test_pages_are_followed_to_the_last_through_a_429(prices, reply, fetch, items):
    links = [f"{azure.ADDRESS.replace('.com', '.com:443')}?$skip={n}" for n in (2, 4)]
    prices.pages[f"{PATH}?start"] = [reply(page(items[:2], links[0]))]
    prices.pages[f"{PATH}?$skip=2"] = [
        reply(status=429, headers={"Retry-After": "1"}),
        reply(page(items[2:4], links[1])),
    ]
    prices.pages[f"{PATH}?$skip=4"] = [reply(page(items[4:], None))]
    assert list(azure.fetch_items(fetch, f"{azure.ADDRESS}?start")) == items


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda items: page(items[:2], None), "page 2 repeats an earlier page"),
        (lambda items: page(items[2:], f"{azure.ADDRESS}?start"), "page 3 leads to a page that was read already"),
        (lambda items: page(items[2:], "https://elsewhere.example/x"), "the next page lies on another host"),
        (lambda items: page(items[2:], None)[:-30], "is no JSON, or is cut short"),
        (lambda items: page(items[2:], None).replace(b'"Count": 4', b'"Count": 9'), "says 9 items and has 4"),
        (lambda items: page(items[2:], None).replace(b"NextPageLink", b"Next"), "the field NextPageLink is missing"),
        (lambda items: page(items[2:], None).replace(b'"Items"', b'"Records"'), "the field Items is missing"),
    ],
)
def test_a_list_that_is_not_whole_is_an_error(prices, reply, fetch, items, second, message):
    prices.pages[f"{PATH}?start"] = [reply(page(items[:2], f"{azure.ADDRESS}?two"))]
    prices.pages[f"{PATH}?two"] = [reply(second(items))]
    with pytest.raises(CatalogError, match=message):
        list(azure.fetch_items(fetch, f"{azure.ADDRESS}?start"))


def test_addresses_ask_for_machines_with_accelerators_in_the_regions_named():
    assert len(azure.addresses()) == 3
    (first, *_), regional = azure.addresses(), azure.addresses(["eastus", "westeurope"])
    assert "armRegionName" not in first
    assert "contains%28armSkuName%2C%20%27Standard_NC%27%29" in first
    assert len(regional) == 6
    assert "armRegionName%20eq%20%27westeurope%27" in regional[1]
