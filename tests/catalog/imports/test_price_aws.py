"""AWS's price list, Savings Plans and spot advisor."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from polyfleet.catalog.imports import aws_list, aws_savings, spot_advisor
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.listed import Tally
from polyfleet.catalog.offers import load_offers
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

TOOLS = Path(__file__).resolve().parents[3] / "tools"
sys.path.insert(0, str(TOOLS))
import bench_price_list as made  # noqa: E402

P5 = {"Instance Type": "p5.48xlarge", "PricePerUnit": "55.0400000000", "GPU": "8", "SKU": "A"}


def read(*rows, tally=None, columns=made.COLUMNS):
    return list(aws_list.read([made.list_of(list(rows), columns)], "http://x/index.csv", tally or Tally()))


def reserved(option, hourly=None, upfront=None, term="3yr", **more):
    """The rows of a reservation."""
    base = P5 | {
        "TermType": "Reserved", "LeaseContractLength": term, "PurchaseOption": option, "OfferingClass": "standard",
        "OfferTermCode": option + term,
    } | more  # fmt: skip
    rows = [base | {"Unit": "Hrs", "PricePerUnit": str(hourly)}] if hourly is not None else []
    return rows + ([base | {"Unit": "Quantity", "PricePerUnit": str(upfront)}] if upfront is not None else [])


def test_on_demand_prices_are_dated_by_the_lists_publication():
    (price,) = read(P5)
    assert (price.id, price.usd_per_hour) == ("aws:us-east-1:p5.48xlarge:on_demand", 55.04)
    assert (price.as_of, price.source) == ("2025-09-12", "http://x/index.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"Location Type": "AWS Local Zone"}, {"Tenancy": "Dedicated"}, {"Operating System": "Windows"},
        {"Pre Installed S/W": "SQL Web"}, {"CapacityStatus": "AllocatedCapacityReservation"},
        {"MarketOption": "CapacityBlock"}, {"Currency": "CNY"}, {"Unit": "Quantity"}, {"PricePerUnit": "0.0000000000"},
        {"PricePerUnit": "free"}, {"Instance Type": "p9.48xlarge"}, {"Instance Type": "c6i.large", "GPU": ""},
    ],
)  # fmt: skip
def test_what_is_no_plain_linux_price_is_counted(change):
    tally = Tally()
    assert read(P5 | change, tally=tally) == []
    assert tally.left_out.total() == tally.read == 1


def test_a_reservations_two_rows_are_one_price():
    (price,) = read(*reserved("Partial Upfront", 10.0, 262_800))
    assert price.usd_per_hour == pytest.approx(10.0 + 262_800 / (3 * 8760))  # 10 + 10
    assert (price.purchase, price.note) == (Purchase.RESERVED_3Y, "standard reserved instance, partial upfront")


def test_the_reservation_with_the_least_up_front_counts():
    rows = [
        *reserved("All Upfront", upfront=394_200, term="1yr"),
        *reserved("No Upfront", 41.5, term="1yr"),
        *reserved("Partial Upfront", 20.0, 180_000, term="1yr"),
        *reserved("No Upfront", 30.0, term="1yr", OfferingClass="convertible", OfferTermCode="C"),
    ]
    (price,) = read(*rows)
    assert (price.usd_per_hour, price.purchase) == (41.5, Purchase.RESERVED_1Y)


def test_half_a_reservation_is_no_price():
    tally = Tally()
    assert read(*reserved("Partial Upfront", 10.0), tally=tally) == []
    assert tally.left_out == {"half of a reservation's two rows": 1}


@pytest.mark.parametrize("column", ["PricePerUnit", "Instance Type", "MarketOption", "Region Code", "GPU"])
def test_a_renamed_column_of_the_list_is_named(column):
    with pytest.raises(CatalogError, match=f"the column {column} is missing"):
        read(P5, columns=[f"{name}2" if name == column else name for name in made.COLUMNS])


def test_a_list_without_its_preamble_is_refused():
    content = made.list_of([P5]).split(b"\n", 5)[-1]
    with pytest.raises(CatalogError, match="Publication Date is missing"):
        list(aws_list.read([content * 7], "x", Tally()))


def test_the_index_leads_to_each_regions_csv():
    index = {"regions": {"us-east-1": {"currentVersionUrl": "/offers/v1.0/aws/AmazonEC2/2025/us-east-1/index.json"}}}
    fetch = FakeFetch({aws_list.INDEX: json.dumps(index).encode()})
    address = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/2025/us-east-1/index.csv"
    assert aws_list.addresses(fetch) == (address,)
    with pytest.raises(CatalogError, match=r"no such region \(got 'moon-1'\)"):
        aws_list.addresses(fetch, regions=["moon-1"])


def test_a_list_of_any_size_needs_little_memory():
    done = subprocess.run(
        [sys.executable, str(TOOLS / "bench_price_list.py"), "--megabytes", "40"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["megabytes"] >= 39
    assert told["rows"] == 500 * told["prices"]
    assert told["peak_rss_mib"] < 150


SAVINGS = (
    "SKU,RateCode,Unit,EffectiveDate,DiscountedRate,Currency,DiscountedSKU,DiscountedServiceCode,DiscountedUsageType,"
    "DiscountedOperation,PurchaseOption,LeaseContractLength,LeaseContractLengthUnit,ServiceCode,UsageType,Operation,"
    "Description,Instance Family,Location,Location Type,Granularity,Product Family,DiscountedRegionCode,"
    "DiscountedInstanceType"
)
SAVED = (
    "A,A.B,Hrs,2025-06-05T18:51:13Z,{rate},USD,B,AmazonEC2,{usage},{operation},{option},3,year,ComputeSavingsPlans,"
    "EC2SP:p5.3yr,,text,p5,US East (N. Virginia),AWS Region,hourly,EC2InstanceSavingsPlans,us-east-1,p5.48xlarge\n"
)


def savings(**change):
    row = {
        "rate": "24.5",
        "usage": "BoxUsage:p5.48xlarge",
        "operation": "RunInstances",
        "option": "No Upfront",
    } | change
    preamble = "".join(f"{name},{value}\n" for name, value in made.PREAMBLE)
    tally = Tally()
    content = f"{preamble}{SAVINGS}\n{SAVED.format(**row)}".encode()
    return list(aws_savings.read([content], "http://x/index.csv", tally)), tally


def test_a_savings_plan_is_a_price_under_commitment():
    ((price,), _) = savings()
    assert (price.id, price.usd_per_hour) == ("aws:us-east-1:p5.48xlarge:reserved_3y", 24.5)
    assert price.note == "EC2 instance savings plan, nothing up front"


@pytest.mark.parametrize(
    "change",
    [
        {"usage": "DedicatedUsage:p5.48xlarge"}, {"operation": "RunInstances:0002"}, {"option": "Partial Upfront"},
        {"rate": "0"}, {"rate": "much"},
    ],
)  # fmt: skip
def test_what_a_savings_plan_does_not_say_by_the_hour_is_counted(change):
    found, tally = savings(**change)
    assert found == []
    assert tally.left_out.total() == 1


def test_bands_become_the_rates_that_the_packaged_catalog_has_from_the_same_list(sample):
    tally = Tally()
    bands = spot_advisor.read(json.loads(sample("aws_spot_advisor.json")), tally)
    listed = {(o.region, o.instance_type): o for o in load_offers() if o.provider == "aws" and o.purchase == "spot"}
    rates = {b.instance_type: b.interruptions_per_month for b in bands if (b.region, b.instance_type) in listed}
    assert set(rates) == {"p4d.24xlarge", "p5.48xlarge", "p5en.48xlarge"}
    for kind, rate in rates.items():
        assert rate == pytest.approx(listed["us-east-1", kind].interruptions_per_month, abs=1e-6)
    assert 1 - math.exp(-rates["p4d.24xlarge"]) == pytest.approx(0.125)  # the middle of 10 to 15 %


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"label": ">20%"', '"label": ">30%"', "the bands have changed"),
        ('"index": 4', '"index": 9', "a band that the list does not explain"),
        ('"r": 4', '"q": 4', "the field r is missing"),
        ('"ranges"', '"bands"', "the field ranges is missing"),
    ],
)
def test_changed_bands_are_an_error(sample, old, new, message):
    content = sample("aws_spot_advisor.json").decode()
    assert old in content
    with pytest.raises(CatalogError, match=message):
        spot_advisor.read(json.loads(content.replace(old, new)), Tally())
