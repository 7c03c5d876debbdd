"""Refreshing the user's file: what is merged, held back, kept; and that a failure leaves the old file as it was."""

import csv
import io
import json
from pathlib import Path

import pytest

from polyfleet import api
from polyfleet.catalog.imports import spot_advisor
from polyfleet.catalog.imports.fake import FakeFetch
from polyfleet.catalog.imports.merge import merge
from polyfleet.catalog.imports.refresh import refresh
from polyfleet.catalog.imports.sources import Wanted
from polyfleet.catalog.offers import load_offers
from polyfleet.catalog.store import load_catalog
from polyfleet.errors import CatalogError, InputError

TODAY = "2026-11-24"
HEADER = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
)
P5 = "aws:us-east-1:p5.48xlarge:on_demand"
LISTED = {o.id: o for o in load_offers()}


def lines(*prices):
    """A list of AWS with p5.48xlarge at these prices: (region, on-demand price)."""
    rows = (f"p5.48xlarge,H100,8,192,2048,,{usd},,{region},x\n" for region, usd in prices)
    return (HEADER + "".join(rows)).encode()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Refresh prices.csv from a saved list; gives what was done."""
    monkeypatch.chdir(tmp_path)

    def refreshed(content, name="aws_vms.csv", fetch=None, **options):
        source = tmp_path / name
        source.write_bytes(content)
        options.setdefault("as_of", TODAY)
        return refresh([str(source)], tmp_path / "prices.csv", fetch or FakeFetch({}), Wanted(TODAY), **options)

    return refreshed


@pytest.fixture
def rows(tmp_path):
    """The rows of prices.csv by id."""

    def read():
        text = (tmp_path / "prices.csv").read_text()
        return {row["id"]: row for row in csv.DictReader(io.StringIO(text))}

    return read


def test_prices_are_written_by_id_with_source_and_date(run, rows, tmp_path):
    done = run(lines(("us-east-1", 50), ("eu-west-1", 60)))
    assert done.written == tmp_path / "prices.csv"
    assert [m.id for m in done.merged.moved] == [P5]
    row = rows()[P5]
    assert (row["usd_per_hour"], row["as_of"], row["chip"], row["chips"]) == ("50", TODAY, "H100-SXM", "8")
    assert row["source"] == str(tmp_path / "aws_vms.csv")


def test_a_second_refresh_merges_and_keeps_what_no_list_tells(run, rows, tmp_path):
    run(lines(("us-east-1", 50), ("us-west-2", 50)))
    text = (tmp_path / "prices.csv").read_text().replace("usd_per_hour", "quota_instances,usd_per_hour")
    head, *body = text.splitlines()
    at = head.split(",").index("quota_instances")
    cells = [line.split(",") for line in body]
    (tmp_path / "prices.csv").write_text("\n".join([head, *(",".join([*c[:at], "12", *c[at:]]) for c in cells)]))
    done = run(lines(("us-east-1", 48)))
    assert {name: (row["usd_per_hour"], row["quota_instances"]) for name, row in rows().items()} == {
        P5: ("48", "12"),
        P5.replace("us-east-1", "us-west-2"): ("50", "12"),
    }
    assert (len(done.merged.moved), done.merged.gone) == (1, [])


@pytest.mark.parametrize(("usd", "held"), [(18.35, False), (18.34, True), (165.12, False), (165.13, True)])
def test_a_price_that_moves_by_more_than_three_times_is_held_back(run, rows, usd, held):
    assert LISTED[P5].usd_per_hour == 55.04
    done = run(lines(("us-east-1", usd), ("us-west-2", 55.04)))
    assert [m.id for m in done.merged.held] == ([P5] if held else [])
    assert (P5 in rows()) is not held


@pytest.mark.parametrize("pattern", [P5, "aws:*:p5.48xlarge:*"])
def test_a_price_held_back_can_be_accepted(run, rows, pattern):
    assert run(lines(("us-east-1", 5), ("us-west-2", 55.04)), accept=[pattern]).merged.held == []
    assert rows()[P5]["usd_per_hour"] == "5"


def test_a_new_offer_is_measured_by_its_types_other_regions_but_spot_is_not():
    usual, spot = "aws:eu-west-3:p5.48xlarge:on_demand", "aws:eu-west-3:p5.48xlarge:spot"
    assert usual not in LISTED
    assert spot not in LISTED
    found = {name: {"id": name, "usd_per_hour": "2", "as_of": TODAY, "note": "aws list"} for name in (usual, spot)}
    merged = merge({}, found)
    assert [(m.id, m.why) for m in merged.held] == [(usual, "median of its regions")]
    assert merged.added == [spot]


def test_the_users_own_rows_stay_unless_he_accepts_the_lists_price(run, rows, tmp_path):
    own = f"id,usd_per_hour,quota_instances,note\n{P5},38.50,12,our agreement of 2026-09\n"
    (tmp_path / "prices.csv").write_text(own)
    done = run(lines(("us-east-1", 50), ("us-west-2", 50)))
    assert [(m.id, m.was, m.now) for m in done.merged.kept] == [(P5, 38.5, 50.0)]
    assert (rows()[P5]["usd_per_hour"], rows()[P5]["note"]) == ("38.50", "our agreement of 2026-09")
    run(lines(("us-east-1", 50)), accept=[P5])
    assert (rows()[P5]["usd_per_hour"], rows()[P5]["quota_instances"]) == ("50", "12")


def test_a_price_older_than_the_present_one_is_not_taken(run, rows):
    run(lines(("us-east-1", 50)))
    done = run(lines(("us-east-1", 40)), as_of="2026-11-23")
    assert done.merged.older == 1
    assert rows()[P5]["usd_per_hour"] == "50"


def test_what_a_list_has_no_more_is_told_and_dropped_only_when_asked(run, rows):
    other = P5.replace("p5.48xlarge", "p4d.24xlarge")
    both = lines(("us-east-1", 50)) + b"p4d.24xlarge,A100,8,96,1152,,21.96,,us-east-1,x\n"
    run(both)
    assert run(lines(("us-east-1", 50))).merged.gone == [other]
    assert other in rows()
    run(lines(("us-east-1", 50)), prune=True)
    assert set(rows()) == {P5}


def test_nothing_is_written_on_a_dry_run(run, tmp_path):
    done = run(lines(("us-east-1", 50)), dry_run=True)
    assert done.written is None
    assert len(done.merged.moved) == 1
    assert not (tmp_path / "prices.csv").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines(("us-east-1", 50))[:-12], "cut short or broken"),
        (lines(("us-east-1", 50)).replace(b"SpotPrice", b"Spot"), "the column SpotPrice is missing"),
        (lines(), "none of its 0 rows is a price that is understood; it is empty"),
        (lines(("moon-1", 50)), "none of its 1 rows is a price that is understood; 1 x a region"),
        (b"\xff\xfe" + lines(("us-east-1", 50)), "is not UTF-8 text"),
        (b"hello,world\n", "no price list that is known"),
        (b'{"prices": []}', "no price list that is known"),
        (b"", "no price list that is known"),
    ],
)
def test_a_list_that_is_not_sound_leaves_the_old_file_as_it_is(run, tmp_path, content, message):
    run(lines(("us-east-1", 50)))
    before = (tmp_path / "prices.csv").read_bytes()
    with pytest.raises(CatalogError, match=message):
        run(content)
    assert (tmp_path / "prices.csv").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"aws_vms.csv", "prices.csv"}


def test_a_broken_file_of_the_user_is_told_before_anything_is_asked(run, tmp_path):
    (tmp_path / "prices.csv").write_text("id,price\n")
    with pytest.raises(CatalogError, match=r"prices.csv:1: unknown column"):
        run(lines(("us-east-1", 50)))
    with pytest.raises(InputError, match="its folder does not exist"):
        refresh(["skypilot"], tmp_path / "no" / "prices.csv", FakeFetch({}), Wanted(TODAY))


def test_an_unknown_list_says_what_is_near(tmp_path):
    with pytest.raises(CatalogError, match=r"neither a list nor a file \(got 'azzure'\); did you mean azure\?"):
        refresh(["azzure"], tmp_path / "p.csv", FakeFetch({}), Wanted(TODAY))


def test_the_spot_advisor_sets_rates_and_leaves_prices(rows, sample, tmp_path):
    spot = "aws:us-east-1:p5.48xlarge:spot"
    (tmp_path / "prices.csv").write_text(f"id,usd_per_hour,note\n{spot},20,ours\n")
    fetch = FakeFetch({spot_advisor.ADDRESS: sample("aws_spot_advisor.json")}, dated="2026-11-20")
    done = refresh(["spot-advisor"], tmp_path / "prices.csv", fetch, Wanted(TODAY))
    assert done.merged.rates == 3
    mine, other = rows()[spot], rows()["aws:us-east-1:p5en.48xlarge:spot"]
    told = f"spot advisor 2026-11-20: >20% a month ({spot_advisor.ADDRESS})"
    assert (mine["usd_per_hour"], mine["interruptions_per_month"], mine["note"]) == ("20", "0.2877", f"ours; {told}")
    listed = LISTED["aws:us-east-1:p5en.48xlarge:spot"]
    assert (float(other["usd_per_hour"]), other["as_of"]) == (listed.usd_per_hour, listed.as_of)
    again = refresh(["spot-advisor"], tmp_path / "prices.csv", fetch, Wanted(TODAY))
    assert again.merged.rows == done.merged.rows


def test_a_rate_outlives_a_later_refresh_of_the_price(run, rows, sample, tmp_path):
    fetch = FakeFetch({spot_advisor.ADDRESS: sample("aws_spot_advisor.json")})
    refresh(["spot-advisor"], tmp_path / "prices.csv", fetch, Wanted(TODAY))
    run((HEADER + "p5.48xlarge,H100,8,192,2048,,55.04,18.5,us-east-1,x\n").encode())
    row = rows()["aws:us-east-1:p5.48xlarge:spot"]
    assert (row["usd_per_hour"], row["interruptions_per_month"]) == ("18.5", "0.2877")
    assert row["note"].startswith("skypilot list; spot advisor 2026-11-24: >20%")


def test_the_users_offers_of_another_file_are_merged_too(run, rows):
    done = run(f"id,usd_per_hour,as_of\n{P5},41,2026-11-01\n".encode(), "theirs.csv")
    assert done.found[0].name == "own"
    assert (rows()[P5]["usd_per_hour"], rows()[P5]["as_of"], rows()[P5]["source"]) == ("41", "2026-11-01", "theirs.csv")


@pytest.mark.parametrize(
    ("name", "saved_as", "form"),
    [
        ("skypilot_azure_vms.csv", "x.csv", "skypilot"),
        ("skypilot_gcp_vms.csv", "x.csv", "skypilot"),
        ("skypilot_lambda_vms.csv", "x.csv", "skypilot"),
        ("azure_retail_prices.json", "x", "azure"),
        ("aws_spot_advisor.json", "x", "spot-advisor"),
    ],
)
def test_a_saved_list_is_recognised_by_what_is_in_it(run, sample, name, saved_as, form):
    done = run(sample(name), saved_as)
    assert done.found[0].name == form
    assert done.merged.rows


SPEC = """\
workloads:
  chat:
    model: Qwen/Qwen3-8B
    traffic: {rate: 2/s, input: 500, output: 100}
    slo: {ttft: 2s p95, tpot: 60ms p95}
policy: {hosted: forbidden, exclude: {provider: [azure, gcp, oci, nebius, lambda, hyperstack, crusoe]}}
catalog: {offers: [prices.csv]}
"""


def test_a_plan_is_made_with_the_refreshed_prices(run, tmp_path):
    cheap = "g6e.xlarge,L40S,1,4,32,,0.7,,us-east-1,x\n"
    run((HEADER + cheap).encode())
    offer = "aws:us-east-1:g6e.xlarge:on_demand"
    catalog = {o.id: o for o in load_catalog([tmp_path / "prices.csv"]).offers}
    assert (catalog[offer].usd_per_hour, catalog[offer].as_of, catalog[offer].quality) == (0.7, TODAY, "user")
    (tmp_path / "fleet.yaml").write_text(SPEC)
    plan = api.make_plan(tmp_path / "fleet.yaml")
    assert {(r.offer, r.usd_per_hour, r.price_as_of) for r in plan.rentals} == {(offer, 0.7, TODAY)}


def test_every_cloud_of_skypilot_is_asked_and_one_that_is_gone_is_told(tmp_path, sample):
    from polyfleet.catalog.imports.skypilot import ADDRESS, CLOUDS

    pages = {ADDRESS.format(schema="v8", cloud=cloud): lines(("us-east-1", 50)) for cloud in CLOUDS if cloud != "gcp"}
    pages[ADDRESS.format(schema="v8", cloud="gcp")] = sample("skypilot_gcp_vms.csv")
    del pages[ADDRESS.format(schema="v8", cloud="vast")]
    fetch = FakeFetch(pages)
    done = refresh(["skypilot"], tmp_path / "p.csv", fetch, Wanted(TODAY))
    assert len(fetch.asked) == len(CLOUDS)
    assert "SkyPilot has no list of vast any more" in done.found[0].tally.remarks[0]
    assert json.dumps(done.merged.rows[P5])
    with pytest.raises(CatalogError, match="404"):
        refresh(["skypilot"], tmp_path / "p.csv", fetch, Wanted(TODAY, providers=("vast",)))


def test_a_rate_that_the_user_states_himself_stays(rows, sample, tmp_path):
    spot = "aws:us-east-1:p5.48xlarge:spot"
    (tmp_path / "prices.csv").write_text(f"id,usd_per_hour,interruptions_per_month\n{spot},20,0.01\n")
    fetch = FakeFetch({spot_advisor.ADDRESS: sample("aws_spot_advisor.json")})
    done = refresh(["spot-advisor"], tmp_path / "prices.csv", fetch, Wanted(TODAY))
    assert rows()[spot]["interruptions_per_month"] == "0.01"
    assert done.found[0].tally.left_out["a rate of your own row stays"] == 1


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (("2026-11-20", 48), ("2026-11-22", 52), "52"),
        (("2026-11-22", 52), ("2026-11-20", 48), "52"),
        (("2026-11-22", 52), ("2026-11-22", 48), "48"),
        (("2026-11-22", 48), ("2026-11-22", 52), "48"),
    ],
)
def test_of_two_lists_the_newer_price_counts_and_of_one_day_the_lower(rows, tmp_path, first, second, taken):
    files = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    for name, (as_of, usd) in zip(files, (first, second), strict=True):
        Path(name).write_text(f"id,usd_per_hour,as_of\n{P5},{usd},{as_of}\n")
    refresh(files, tmp_path / "prices.csv", FakeFetch({}), Wanted(TODAY))
    assert rows()[P5]["usd_per_hour"] == taken
