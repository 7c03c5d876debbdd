"""Every list from its address to the rows of the user's file."""

import io
import json
import zipfile

import pytest

from polyfleet.catalog.imports import aws_list, aws_savings, azure, gcp, gpuhunt
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.merge import LISTS, written_by
from polyfleet.catalog.imports.sources import SOURCES, Wanted, fetch_source
from polyfleet.errors import CatalogError

TODAY = "2026-11-24"
AWS = "https://pricing.us-east-1.amazonaws.com"
PREAMBLE = "FormatVersion,v1\nDisclaimer,x\nPublication Date,2026-11-20T22:53:08Z\nVersion,1\nOfferCode,AmazonEC2\n"


def table(columns, *rows):
    cells = [",".join(row.get(name, "") for name in columns) for row in rows]
    return (PREAMBLE + "\n".join([",".join(columns), *cells]) + "\n").encode()


def aws_pages():
    index = {"regions": {"us-east-1": {"currentVersionUrl": "/v/us-east-1/index.json"}}}
    columns = [*aws_list._COLUMNS, *(name for name, _, _ in aws_list._PLAIN)]
    row = {name: value for name, value, _ in aws_list._PLAIN} | {
        "TermType": "OnDemand", "Unit": "Hrs", "PricePerUnit": "55.04", "Instance Type": "p5.48xlarge",
        "Region Code": "us-east-1",
    }  # fmt: skip
    return {aws_list.INDEX: json.dumps(index).encode(), f"{AWS}/v/us-east-1/index.csv": table(columns, row)}


def savings_pages():
    index = {"regions": [{"regionCode": "us-east-1", "versionUrl": "/s/us-east-1/index.json"}]}
    row = {
        "DiscountedRate": "30", "Currency": "USD", "Unit": "Hrs", "PurchaseOption": "No Upfront",
        "LeaseContractLength": "1", "LeaseContractLengthUnit": "year", "Product Family": "ComputeSavingsPlans",
        "DiscountedServiceCode": "AmazonEC2", "DiscountedUsageType": "BoxUsage:p5.48xlarge",
        "DiscountedOperation": "RunInstances", "DiscountedRegionCode": "us-east-1",
        "DiscountedInstanceType": "p5.48xlarge",
    }  # fmt: skip
    return {aws_savings.INDEX: json.dumps(index).encode(), f"{AWS}/s/us-east-1/index.csv": table([*row], row)}


def azure_pages():
    item = {
        "armRegionName": "eastus", "armSkuName": "Standard_ND96isr_H100_v5", "meterName": "ND96isrH100v5",
        "productName": "Virtual Machines NDsr H100 v5 Series", "type": "Consumption", "unitOfMeasure": "1 Hour",
        "currencyCode": "USD", "retailPrice": 98.32,
    }  # fmt: skip
    empty = json.dumps({"Items": [], "NextPageLink": None, "Count": 0}).encode()
    pages = dict.fromkeys(azure.addresses(["eastus"]), empty)
    pages[azure.addresses(["eastus"])[1]] = json.dumps({"Items": [item], "NextPageLink": None, "Count": 1}).encode()
    return pages


def gcp_pages():
    rate = {"unitPrice": {"currencyCode": "USD", "units": "2", "nanos": 700_000_000}}
    sku = {
        "description": "TpuV6e hours used in Iowa", "serviceRegions": ["us-central1"],
        "category": {"resourceGroup": "TPU", "usageType": "OnDemand"},
        "pricingInfo": [{"pricingExpression": {"usageUnit": "h", "tieredRates": [rate]}}],
    }  # fmt: skip
    url = f"{gcp.ADDRESS.format(service=gcp.COMPUTE)}?pageSize=5000"
    return {url: json.dumps({"skus": [sku], "nextPageToken": ""}).encode()}


def gpuhunt_pages():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        header, row = ",".join(gpuhunt.COLUMNS), "p5.48xlarge,us-east-1,55.04,192,2048,8,H100,80,False"
        archive.writestr("aws.csv", f"{header}\n{row}\n")
    version = gpuhunt.VERSION.format(provider="aws")
    return {version: b"20261121", gpuhunt.ADDRESS.format(provider="aws", version="20261121"): packed.getvalue()}


@pytest.mark.parametrize(
    ("name", "pages", "offer", "usd", "as_of"),
    [
        ("aws", aws_pages, "aws:us-east-1:p5.48xlarge:on_demand", "55.04", "2026-11-20"),
        ("aws-savings-plans", savings_pages, "aws:us-east-1:p5.48xlarge:reserved_1y", "30", "2026-11-20"),
        ("azure", azure_pages, "azure:eastus:Standard_ND96isr_H100_v5:on_demand", "98.32", TODAY),
        ("gcp", gcp_pages, "gcp:us-central1:ct6e-standard-1t:on_demand", "2.7", TODAY),
        ("gpuhunt", gpuhunt_pages, "aws:us-east-1:p5.48xlarge:on_demand", "55.04", "2026-11-21"),
    ],
)
def test_a_list_is_read_from_its_address(monkeypatch, name, pages, offer, usd, as_of):
    monkeypatch.setenv(gcp.KEY, "k")
    regions = ("eastus",) if name == "azure" else ()
    found = fetch_source(name, FakeFetch(pages()), Wanted(TODAY, regions=regions))
    row = found.cells[offer]
    assert (row["usd_per_hour"], row["as_of"]) == (usd, as_of)
    assert row["source"].startswith("https://")
    assert written_by(row) == name
    assert all(":us-" in offer or ":eastus:" in offer for offer in found.cells)


def test_a_rows_note_names_its_list_for_every_list():
    assert {*SOURCES, "own"} == {*LISTS}


def test_a_list_that_is_gone_is_an_error():
    with pytest.raises(CatalogError, match=r"region_index.json: the server answers with status 404"):
        fetch_source("aws", FakeFetch({}), Wanted(TODAY))


def test_an_unknown_provider_says_what_is_near():
    with pytest.raises(CatalogError, match=r"no such provider \(got 'lamda'\); did you mean lambda\?"):
        fetch_source("skypilot", FakeFetch({}), Wanted(TODAY, providers=("lamda",)))
