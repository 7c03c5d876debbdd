"""Whatever bytes come: an error that says what is wrong, or rows; nothing else."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.catalog.imports import aws_list, aws_savings, azure, gcp, gpuhunt, skypilot, spot_advisor
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.listed import Tally
from polyfleet.catalog.imports.place import cells_of
from polyfleet.catalog.imports.refresh import refresh
from polyfleet.catalog.imports.sources import Wanted
from polyfleet.catalog.imports.stream import read_json
from polyfleet.catalog.imports.user_file import check_readable, to_csv
from polyfleet.errors import CatalogError

SAMPLES = Path(__file__).parent / "samples"
AZURE, GCP, LAMBDA, ADVISOR, PRICES = (
    (SAMPLES / name).read_bytes()
    for name in (
        "skypilot_azure_vms.csv", "skypilot_gcp_vms.csv", "skypilot_lambda_vms.csv", "aws_spot_advisor.json",
        "azure_retail_prices.json",
    )
)  # fmt: skip
PREAMBLE = b"FormatVersion,v1\nDisclaimer,x\nPublication Date,2025-09-12T22:53:08Z\nVersion,1\nOfferCode,AmazonEC2\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            ["Items", "Count", "NextPageLink", "armSkuName", "retailPrice", "type", "spot_advisor", "ranges", "label",
             "index", "r", "Linux", "us-east-1", "p5.48xlarge", "skus", "description", "category", "usageType",
             "resourceGroup", "serviceRegions", "pricingInfo", "pricingExpression", "tieredRates", "savingsPlan"]
        ),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


def csv_bytes(*columns):
    """CSVs whose header has these columns, and cells that may be anything."""
    cell = st.sampled_from(
        ["p5.48xlarge", "H100", "8", "us-east-1", "1.5", "-1", "1e400", "nan", "", "True", "OnDemand"]
    )
    cell |= st.text(max_size=6)
    row = st.lists(cell, min_size=len(columns), max_size=len(columns))
    quoted = st.lists(row, max_size=4).map(
        lambda rows: "".join(",".join('"' + c.replace('"', '""') + '"' for c in r) + "\n" for r in rows)
    )
    return quoted.map(lambda text: (",".join(columns) + "\n" + text).encode("utf-8", "surrogatepass"))


def mutated(content):
    """True bytes with a piece replaced."""
    return st.tuples(st.integers(0, len(content)), st.integers(0, 40), st.binary(max_size=12)).map(
        lambda m: content[: m[0]] + m[2] + content[m[0] + m[1] :]
    )


READERS = {
    "skypilot aws": lambda b: skypilot.read([b], "aws", "x", "2026-11-24", Tally()),
    "skypilot gcp": lambda b: skypilot.read([b], "gcp", "x", "2026-11-24", Tally()),
    "gpuhunt csv": lambda b: gpuhunt.read([b], "aws", "x", "2026-11-24", Tally()),
    "gpuhunt zip": lambda b: gpuhunt.read_zip([b], "x", "2026-11-24", Tally(), "aws"),
    "aws": lambda b: aws_list.read([b], "x", Tally()),
    "aws savings": lambda b: aws_savings.read([b], "x", Tally()),
    "azure": lambda b: azure.read(azure.page(read_json([b], "x"), "x")[0], "2026-11-24", Tally()),
    "gcp": lambda b: gcp.read([read_json([b], "x")], "2026-11-24", Tally()),
}
TEXTS = {
    "skypilot aws": csv_bytes(*skypilot.COLUMNS, "GpuInfo", "AvailabilityZone") | mutated(AZURE) | mutated(LAMBDA),
    "skypilot gcp": csv_bytes(*skypilot.COLUMNS, "AvailabilityZone") | mutated(GCP),
    "gpuhunt csv": csv_bytes(*gpuhunt.COLUMNS),
    "gpuhunt zip": st.binary(max_size=60).map(lambda tail: b"PK\x03\x04" + tail),
    "aws": csv_bytes(*aws_list._COLUMNS, *(name for name, _, _ in aws_list._PLAIN)).map(lambda b: PREAMBLE + b),
    "aws savings": csv_bytes(*aws_savings._COLUMNS).map(lambda b: PREAMBLE + b),
    "azure": mutated(PRICES) | JSON.map(lambda d: json.dumps(d).encode()),
    "gcp": JSON.map(lambda d: json.dumps(d).encode()),
}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60)
@given(data=st.data())
def test_a_reader_gives_rows_that_can_be_read_again_or_a_clear_error(name, data):
    content = data.draw(st.binary(max_size=200) | TEXTS[name])
    found = {}
    with suppress(CatalogError):
        found = cells_of(READERS[name](content), "aws", Tally())
    if found:
        check_readable(to_csv(found.values()), "made.csv")


@settings(max_examples=60)
@given(content=st.binary(max_size=100) | mutated(ADVISOR) | JSON.map(lambda d: json.dumps(d).encode()))
def test_the_spot_advisor_gives_bands_or_a_clear_error(content):
    bands = ()
    with suppress(CatalogError):
        bands = spot_advisor.read(read_json([content], "x"), Tally())
    assert all(0 < band.interruptions_per_month < 1 for band in bands)


@settings(max_examples=60)
@given(
    content=st.binary(max_size=100)
    | st.one_of(*(mutated(c) for c in (AZURE, GCP, LAMBDA, ADVISOR, PRICES)))
    | JSON.map(lambda d: json.dumps(d).encode())
    | csv_bytes("id", "usd_per_hour", "chip", "chips")
)
def test_any_file_is_merged_or_refused_with_the_old_file_as_it_was(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "list").write_bytes(content)
    out = folder / "prices.csv"
    old = b"id,usd_per_hour\naws:us-east-1:p5.48xlarge:on_demand,50\n"
    out.write_bytes(old)
    try:
        refresh([str(folder / "list")], out, FakeFetch({}), Wanted("2026-11-24"))
    except CatalogError:
        assert out.read_bytes() == old
    else:
        check_readable(out.read_text(), "prices.csv")
        assert "aws:us-east-1:p5.48xlarge:on_demand" in out.read_text()
