"""gpuhunt's zips, in the columns that its package reads."""

import io
import zipfile

import pytest

from polyfleet.catalog.imports import gpuhunt
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.listed import Tally
from polyfleet.errors import CatalogError

HEADER = (
    "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags,cpu_arch,"
    "provider_data\n"
)
ROWS = (
    "p5.48xlarge,us-east-1,55.04,192,2048.0,8,H100,80.0,False,,nvidia,,x86,{}\n"
    "p5.48xlarge,us-east-1,21.5,192,2048.0,8,H100,80.0,True,,nvidia,,x86,{}\n"
    "c6i.large,us-east-1,0.085,2,4.0,0,,,False,,,,x86,{}\n"
)


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.csv", text)
    return out.getvalue()


def read(content, provider="", tally=None):
    found = gpuhunt.read_zip([content], "http://x/c.zip", "2026-11-24", tally or Tally(), provider)
    return {price.id: price.usd_per_hour for price in found}


def test_a_zip_gives_the_prices_of_the_providers_in_it():
    tally = Tally()
    assert read(zipped(aws=HEADER + ROWS, runpod=HEADER), tally=tally) == {
        "aws:us-east-1:p5.48xlarge:on_demand": 55.04,
        "aws:us-east-1:p5.48xlarge:spot": 21.5,
    }
    assert tally.left_out == {"a provider that the catalog does not know": 1, "no chips": 1}


def test_a_file_without_a_providers_name_is_of_the_provider_asked_for():
    assert len(read(zipped(catalog=HEADER + ROWS), "lambdalabs")) == 2


def test_the_newest_version_is_asked_for_and_dates_the_prices():
    fetch = FakeFetch({gpuhunt.VERSION.format(provider="aws"): b"20261120-7\n"})
    url = gpuhunt.address(fetch, "aws")
    assert url.endswith("/v3/aws/20261120-7/catalog.zip")
    assert gpuhunt.dated(url) == "2026-11-20"
    with pytest.raises(CatalogError, match="no version is told"):
        gpuhunt.address(FakeFetch({gpuhunt.VERSION.format(provider="aws"): b"<html>"}), "aws")


@pytest.mark.parametrize("column", gpuhunt.COLUMNS)
def test_a_renamed_column_in_a_zip_is_named(column):
    header = ",".join(f"{name}2" if name == column else name for name in HEADER.split(","))
    with pytest.raises(CatalogError, match=f"the column {column} is missing"):
        read(zipped(aws=header + ROWS))


def test_a_zip_cut_short_or_damaged_is_refused():
    whole = zipped(aws=HEADER + ROWS * 50)
    for broken in (whole[:-30], whole[:40] + b"\xff" * 20 + whole[60:], b"PK\x03\x04", zipped(), b""):
        with pytest.raises(CatalogError):
            read(broken)
