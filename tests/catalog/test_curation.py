"""The page and the tables that the curation makes: read as shipped; made afresh where the raw folder is at hand."""

import os
import re
from pathlib import Path

import pytest
from curate_catalog import curate
from curation.document import ranges
from curation.tables import DECISIONS, Report, Row, decisions, number, read

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.models import find_model
from polyfleet.catalog.reading import TABLES, read_table
from polyfleet.catalog.recipes import builds_for
from polyfleet.terms.precision import Precision

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "data.md").read_text()


@pytest.mark.parametrize(
    ("title", "table", "of_table"),
    [
        ("Rented offers", "offers.csv", lambda r: r["quality"] != "unproven" and r["purchase"] != "capacity_block"),
        ("AWS capacity blocks", "offers.csv", lambda r: r["purchase"] == "capacity_block"),
        ("Unproven offers", "offers.csv", lambda r: r["quality"] == "unproven"),
        ("Hosted offers", "hosted.csv", bool),
        ("Chips", "chips.csv", bool),
    ],
)
def test_the_page_counts_the_rows_that_are_shipped(title: str, table: str, of_table) -> None:  # type: ignore[no-untyped-def]
    (kept,) = re.findall(rf"^\| {title} \| `[^`]+` \| \d+ \| (\d+) \|", PAGE, re.MULTILINE)
    assert int(kept) == sum(1 for row in read_table(table) if of_table(row))


def test_every_hosted_row_is_kept_or_dropped_once() -> None:
    raw, kept, dropped = re.findall(r"^\| Hosted offers \| `[^`]+` \| (\d+) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)[
        0
    ]
    assert int(raw) == int(kept) + int(dropped)


def test_the_page_names_each_known_trap() -> None:
    for trap in ("a3-highgpu-1g/2g/4g", "13 times the price", "government region", "Local Zone", "fraction of a GPU"):
        assert trap in PAGE


def test_no_table_names_a_place_on_some_machine() -> None:
    for path in [
        *TABLES.glob("*.csv"),
        *DECISIONS.glob("*.csv"),
        *(REPOSITORY / "docs" / name for name in ("data.md", "recipes.md")),
    ]:
        assert not re.search(r"(?<![\w.])/(work|tmp|home)/", path.read_text()), path


def test_numbers_are_written_shortest() -> None:
    assert [number(x) for x in (8.0, 0.1 + 0.2, 13.22895, 0.0)] == ["8", "0.3", "13.22895", "0"]


def test_lines_are_told_as_ranges_by_price() -> None:
    assert ranges(["3", "4", "5", "9"]) == "3-5, 9"
    assert ranges(["3 spot", "4 spot", "4 on_demand"]) == "on_demand: 4; spot: 3-4"
    assert ranges(["MI455X (line 25)"]) == "MI455X (line 25)"


def test_a_decision_with_a_stray_comma_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("a,b\n1,2,3\n")
    monkeypatch.setattr("curation.tables.DECISIONS", tmp_path)
    with pytest.raises(ValueError, match="row 2 has 3 cells, not 2"):
        decisions("some")


def test_a_report_counts_sources_by_date() -> None:
    report = Report("Some", "some.csv")
    report.source("list", "2026-01-01")
    report.source("list", "2026-01-01")
    report.source("list", "")
    assert report.sources == {"list · 2026-01-01": 2, "list · undated": 1}


if RAW := os.environ.get("POLYFLEET_RAW_DATA"):

    def test_the_same_raw_folder_gives_the_same_bytes(tmp_path: Path) -> None:
        for name in ("first", "second"):
            curate(Path(RAW), tmp_path / name)
        made = [p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file()]
        assert len(made) >= 8
        for path in made:
            content = (tmp_path / "first" / path).read_bytes()
            assert content == (tmp_path / "second" / path).read_bytes()
            assert content == (REPOSITORY / path).read_bytes(), f"{path} is not what the raw folder gives"

    def test_what_has_been_measured_is_allowed() -> None:
        """Layouts in the measured rows are the oracle of the recipes: 98 % of them at least must be builds."""
        rows = read(Path(RAW) / "speed" / "measured_calibration.csv")
        told = [_is_allowed(row) for row in rows if row["quality"] != "C" and row["tp"] and row["dp"] in ("", "1")]
        assert len(told) > 2000
        assert sum(told) >= 0.98 * len(told)

    def _is_allowed(row: Row) -> bool:
        model, chip = find_model(row["model"]), find_chip(row["hardware"])
        weights = _FORMATS.get(row["weight_dtype"])
        if weights is Precision.NVFP4 and chip.vendor == "amd":
            weights = Precision.MXFP4
        kv = [Precision.FP8] if row["kv_dtype"] == "fp8" else None
        builds = builds_for(model, chip, [weights] if weights else None, 16, kv_precisions=kv)
        return int(row["tp"]) in {b.tp * chip.cores for b in builds if b.dp == 1}

    _FORMATS = {
        "fp16": Precision.BF16,
        "bf16": Precision.BF16,
        "fp8": Precision.FP8,
        "fp4": Precision.NVFP4,
        "mxfp4": Precision.MXFP4,
        "mxfp8": Precision.MXFP8,
        "int8": Precision.INT8,
        "int4": Precision.INT4,
        "int4 (AWQ)": Precision.INT4,
    }
