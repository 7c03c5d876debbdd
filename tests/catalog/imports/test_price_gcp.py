"""Google's billing catalog: parts added up, pages followed, the key kept to oneself."""

import json

import pytest

from polyfleet.catalog.imports import gcp
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.listed import Tally
from polyfleet.errors import CatalogError

PAGE = f"{gcp.ADDRESS.format(service=gcp.COMPUTE)}?pageSize=5000"


def sku(description, group, usage, price, unit="h", regions=("us-central1",)):
    """A part as the billing catalog states it; the form is that of the true sample."""
    units, nanos = divmod(round(price * 1e9), 10**9)
    rate = {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": str(units), "nanos": nanos}}
    return {
        "description": description, "serviceRegions": list(regions),
        "category": {"resourceFamily": "Compute", "resourceGroup": group, "usageType": usage},
        "pricingInfo": [{"pricingExpression": {"usageUnit": unit, "tieredRates": [rate]}}],
    }  # fmt: skip


A2 = [
    sku("A2 Instance Core running in Iowa", "CPU", "OnDemand", 0.031611),
    sku("A2 Instance Ram running in Iowa", "RAM", "OnDemand", 0.004237, "GiBy.h"),
    sku("Nvidia Tesla A100 GPU running in Iowa", "GPU", "OnDemand", 2.933908),
]


def prices(skus, tally=None):
    return {p.id: p.usd_per_hour for p in gcp.read(skus, "2026-11-24", tally or Tally())}


def test_a_machine_costs_its_cores_its_memory_and_its_chips():
    found = prices(A2)
    # 12 cores, 85 GiB, one chip
    one = 12 * 0.031611 + 85 * 0.004237 + 2.933908
    assert found["gcp:us-central1:a2-highgpu-1g:on_demand"] == pytest.approx(one)
    assert found["gcp:us-central1:a2-highgpu-8g:on_demand"] == pytest.approx(8 * one)
    assert all(":a2-highgpu-" in name or ":a2-megagpu-" in name for name in found)


def test_commitments_spot_and_reservations_are_not_taken_for_on_demand():
    others = [
        sku("Commitment v1: A2 Cpu in Iowa for 1 Year", "CPU", "Commit1Yr", 0.02),
        sku("Commitment v1: A2 Ram in Iowa for 1 Year", "RAM", "Commit1Yr", 0.003, "GiBy.h"),
        sku("Commitment v1: Nvidia Tesla A100 GPU running in Iowa for 1 Year", "GPU", "Commit1Yr", 1.8),
        sku("Spot Preemptible A2 Instance Core running in Iowa", "CPU", "Preemptible", 0.01),
        sku("Spot Preemptible A2 Instance Ram running in Iowa", "RAM", "Preemptible", 0.001, "GiBy.h"),
        sku("Nvidia Tesla A100 GPU attached to Spot Preemptible VMs running in Iowa", "GPU", "Preemptible", 0.9),
        sku("Reserved A2 Core in Iowa", "CPU", "OnDemand", 9.0),
        sku("DWS Defined Duration Nvidia Tesla A100 GPU", "GPU", "OnDemand", 9.0),
        sku("Nvidia Tesla A100 80GB GPU running in Iowa", "GPU", "OnDemand", 9.0),
    ]
    found = prices(A2 + others)
    kind = "gcp:us-central1:a2-highgpu-1g"
    assert found[f"{kind}:on_demand"] == pytest.approx(prices(A2)[f"{kind}:on_demand"])
    assert found[f"{kind}:reserved_1y"] == pytest.approx(12 * 0.02 + 85 * 0.003 + 1.8)
    assert found[f"{kind}:spot"] == pytest.approx(12 * 0.01 + 85 * 0.001 + 0.9)


def test_tpus_are_priced_by_the_chip_and_their_spot_price_bears_another_usage_type():
    found = prices(
        [
            sku("TpuV6e hours used in Iowa", "TPU", "OnDemand", 2.7),
            sku("Spot TpuV6e Preemptible hours used in Iowa", "TPU", "OnDemand", 0.8),
        ]
    )
    assert found["gcp:us-central1:ct6e-standard-8t:on_demand"] == pytest.approx(8 * 2.7)
    assert found["gcp:us-central1:ct6e-standard-4t:spot"] == pytest.approx(4 * 0.8)


def test_a_machine_of_which_a_part_has_no_price_is_counted():
    tally = Tally()
    assert prices(A2[:2], tally) == {}
    assert tally.left_out["a machine of which a part has no price"] > 0


def test_a_true_sku_that_is_no_part_of_a_machine_is_counted(sample):
    tally = Tally()
    assert prices(json.loads(sample("gcp_skus.json"))["skus"], tally) == {}
    assert tally.left_out["no part of a machine that the catalog knows"] == 1


@pytest.mark.parametrize("name", ["description", "category", "serviceRegions", "pricingInfo"])
def test_a_field_of_a_sku_that_is_gone_is_named(name):
    broken = {key: value for key, value in A2[0].items() if key != name}
    with pytest.raises(CatalogError, match=f"the field {name} is missing"):
        prices([broken])


def test_pages_are_followed_and_the_key_travels_in_a_header_only():
    fetch = FakeFetch(
        {
            PAGE: json.dumps({"skus": A2[:1], "nextPageToken": "a/b"}).encode(),
            f"{PAGE}&pageToken=a%2Fb": json.dumps({"skus": A2[1:], "nextPageToken": ""}).encode(),
        }
    )
    assert list(gcp.fetch_skus(fetch, "the-secret")) == A2
    assert [h["X-Goog-Api-Key"] for h in fetch.headers] == ["the-secret"] * 2
    assert not any("secret" in url for url in fetch.asked)


def test_a_page_that_leads_to_itself_is_an_error():
    again = json.dumps({"skus": A2, "nextPageToken": "t"}).encode()
    fetch = FakeFetch({PAGE: again, f"{PAGE}&pageToken=t": again})
    with pytest.raises(CatalogError, match="was read already"):
        list(gcp.fetch_skus(fetch, "k"))


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak"])
def test_a_key_that_is_missing_or_none_is_told_without_showing_it(monkeypatch, key):
    monkeypatch.setenv(gcp.KEY, key)
    with pytest.raises(CatalogError, match=gcp.KEY) as caught:
        gcp.api_key()
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_prices_of_one_part_the_dearer_counts(turned):
    two = [sku("TpuV6e hours used in Iowa", "TPU", "OnDemand", usd) for usd in (2.7, 1.9)]
    found = prices(two[::-1] if turned else two)
    assert found["gcp:us-central1:ct6e-standard-1t:on_demand"] == 2.7
