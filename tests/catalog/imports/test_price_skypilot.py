"""SkyPilot's lists: true excerpts beside the packaged catalog, which was curated from the same lists by other code."""

import pytest

from polyfleet.catalog.imports import skypilot
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.fetch import failed
from polyfleet.catalog.imports.listed import Tally
from polyfleet.catalog.imports.place import cells_of
from polyfleet.catalog.offers import load_offers
from polyfleet.errors import CatalogError

HEADER = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
)
PACKAGED = {o.id: o for o in load_offers()}


def cells(content, cloud, tally=None):
    tally = tally or Tally()
    return cells_of(skypilot.read([content], cloud, "http://x/vms.csv", "2026-11-24", tally), "skypilot", tally)


def prices(found):
    return {name: float(row["usd_per_hour"]) for name, row in found.items()}


def test_azure_prices_are_those_curated_from_the_same_list(sample):
    tally = Tally()
    found = cells(sample("skypilot_azure_vms.csv"), "azure", tally)
    assert len(found) == 16
    assert prices(found) == {name: PACKAGED[name].usd_per_hour for name in found}
    assert {name: row["chip"] for name, row in found.items()} == {name: PACKAGED[name].chip for name in found}
    assert tally.left_out["a fraction of a chip"] == 4
    assert tally.left_out["a spot price equal to on-demand: no spot price"] == 2
    assert tally.left_out["no chips named"] == 3


def test_googles_machines_cost_what_the_machine_and_its_chips_cost(sample):
    tally = Tally()
    found = prices(cells(sample("skypilot_gcp_vms.csv"), "gcp", tally))
    assert found["gcp:asia-northeast1:a2-highgpu-1g:on_demand"] == pytest.approx(0.94803 + 1.70586)
    assert found["gcp:asia-northeast1:a2-highgpu-1g:spot"] == pytest.approx(0.47407 + 1.3974)
    assert found["gcp:asia-east1:a3-highgpu-8g:on_demand"] == pytest.approx(10.95381 + 90.74744)
    assert found["gcp:europe-west4:a4-highgpu-8g:spot"] == 34.0736
    assert tally.left_out["no price of its chips in that zone"] == 2


def test_tpu_slices_on_one_host_are_priced_whole_and_placeholders_are_no_prices(sample):
    tally = Tally()
    found = cells(sample("skypilot_gcp_vms.csv"), "gcp", tally)
    slices = {name: float(row["usd_per_hour"]) for name, row in found.items() if row["chip"].startswith("TPU")}
    assert slices["gcp:asia-northeast1:ct6e-standard-8t:on_demand"] == 25.92
    assert slices == {name: PACKAGED[name].usd_per_hour for name in slices}
    assert tally.left_out["a placeholder for an unknown price"] == 2


def test_one_price_in_all_of_lambdas_regions_is_its_list_price(sample):
    found = prices(cells(sample("skypilot_lambda_vms.csv"), "lambda"))
    assert found == {"lambda:*:gpu_8x_h100_sxm5:on_demand": 31.92, "lambda:*:gpu_1x_gh200:on_demand": 2.29}


def test_a_price_that_differs_by_unknown_regions_is_counted(sample):
    content = sample("skypilot_lambda_vms.csv").replace(b"31.92", b"29.00", 1)
    tally = Tally()
    assert "lambda:*:gpu_8x_h100_sxm5:on_demand" not in cells(content, "lambda", tally)
    assert tally.left_out["a price that differs by regions which the catalog does not know"] == 1


def test_spot_is_the_cheapest_zone_with_the_dearest_told():
    rows = "".join(
        f"p5.48xlarge,H100,8,192,2048,,55.04,{spot},us-east-1,{zone}\n"
        for zone, spot in (("use1-az1", 30), ("use1-az2", 20.5), ("use1-atl2-az1", 1))
    )
    tally = Tally()
    found = cells((HEADER + rows).encode(), "aws", tally)
    spot = found["aws:us-east-1:p5.48xlarge:spot"]
    assert (spot["usd_per_hour"], spot["note"]) == ("20.5", "skypilot list; cheapest of 2 zones (dearest 30)")
    assert (spot["source"], spot["as_of"]) == ("http://x/vms.csv", "2026-11-24")
    assert found["aws:us-east-1:p5.48xlarge:on_demand"]["note"] == "skypilot list"
    assert tally.left_out == {"a Local Zone: small opt-in edge sites": 1}


def test_spot_above_on_demand_is_taken_for_neither():
    tally = Tally()
    zones = "p5.48xlarge,H100,8,192,2048,,20,,us-east-1,use1-az1\np5.48xlarge,H100,8,192,2048,,,25,us-east-1,use1-az2\n"
    assert cells((HEADER + zones).encode(), "aws", tally) == {}
    assert tally.left_out == {"spot above on-demand: one of the two is wrong": 1}


@pytest.mark.parametrize(
    ("kind", "name", "info", "chip"),
    [
        ("new-sxm-8", "H100", "{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}", "H100-SXM"),
        ("new-8", "H100_NVL", "", "H100-NVL"),
        ("new-8", "MI355X", "", "MI355X"),
        ("new-8", "A100_SXM4", "{'MemoryInfo': {'SizeInMiB': 40960}}", "A100-SXM-40GB"),
        ("new-8", "H100", "{'Gpus': [{'MemoryInfo': {'SizeInMiB': 81920}}]}", None),  # SXM or PCIe?
        ("new-8", "A100_SXM4", "", None),  # 40 or 80 GB?
        ("new-8", "RTX-4090", "", None),
        ("new-8", "Unheard-1", "", None),
    ],
)
def test_a_new_type_is_taken_only_where_one_chip_fits(kind, name, info, chip):
    row = f'{kind},{name},8,96,1000,"{info}",40,,us-east-1,use1-az1\n'
    found = cells((HEADER + row).encode(), "aws")
    assert [cells["chip"] for cells in found.values()] == ([chip] if chip else [])


@pytest.mark.parametrize(("count", "name"), [("4", "H100"), ("8", "H200"), ("0.5", "H100")])
def test_a_known_type_with_other_chips_is_left_out(count, name):
    tally = Tally()
    row = f"p5.48xlarge,{name},{count},192,2048,,55.04,,us-east-1,use1-az1\n"
    assert cells((HEADER + row).encode(), "aws", tally) == {}
    assert tally.left_out.total() == 1


@pytest.mark.parametrize("column", skypilot.COLUMNS)
def test_a_column_that_is_gone_or_renamed_is_named(column, sample):
    content = sample("skypilot_azure_vms.csv").replace(column.encode(), b"Renamed", 1)
    with pytest.raises(CatalogError, match=rf"the column {column} is missing: has the list changed its form\?"):
        cells(content, "azure")


def test_other_columns_in_another_order_do_not_matter(sample):
    lines = [line.split(",")[:9] for line in sample("skypilot_azure_vms.csv").decode().splitlines()]
    turned = "\n".join(",".join(["more", *reversed(line)]) for line in lines).encode()
    assert prices(cells(turned, "azure")) == prices(cells(sample("skypilot_azure_vms.csv"), "azure"))


def test_a_row_cut_in_the_middle_is_an_error_with_its_line(sample):
    cut = sample("skypilot_gcp_vms.csv")[:-40]
    with pytest.raises(CatalogError, match=r"vms.csv:18: the row has \d cells, the header 10"):
        cells(cut, "gcp")


def test_the_second_address_is_asked_where_the_first_is_asked_too_often():
    first = skypilot.ADDRESS.format(schema="v8", cloud="oci")
    second = skypilot.FALLBACK.format(schema="v8", cloud="oci")
    fetch = FakeFetch({first: failed("too often", first, status=429), second: b"x"})
    assert skypilot.fetch_cloud(fetch, "oci").url == second
    with pytest.raises(CatalogError, match="404"):
        skypilot.fetch_cloud(FakeFetch({second: b"x"}), "oci")


def test_vasts_regions_are_placed_by_their_country():
    header = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region\n"
    rows = "".join(
        f'1x-H100_SXM-32,H100,1,32,64,,1.8,0.00,"{place}"\n' for place in ("Florida, US, NA", "Nowhere, ZZ, XX")
    )
    tally = Tally()
    (row,) = cells((header + rows).encode(), "vast", tally).values()
    assert (row["continent"], row["jurisdiction"], row["chip"]) == ("us", "us", "H100-SXM")
    assert tally.examples["a region that the catalog does not know"] == ["vast:Nowhere, ZZ, XX"]
