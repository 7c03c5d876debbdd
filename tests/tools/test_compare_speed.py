"""The side-by-side table against figures worked out by hand."""

import csv
import math
import sys
from pathlib import Path

import pytest
from compare_speed import CONFIGURATION, PREDICTED, error, macro, main, points, table
from hypothesis import given
from hypothesis import strategies as st

positive = st.floats(min_value=1e-6, max_value=1e9)


def row(row_id: str, **cells: str) -> dict[str, str]:
    blank = dict.fromkeys((*CONFIGURATION, *PREDICTED.values()), "")
    return blank | {"row_id": row_id, "hardware": "H100", "model": "m", "quality": "A"} | cells


@given(positive, positive)
def test_error_is_the_exponential_of_the_absolute_log_ratio(predicted: float, measured: float) -> None:
    assert error(predicted, measured) == pytest.approx(
        math.expm1(abs(math.log(predicted / measured))), rel=1e-6, abs=1e-9
    )


def test_only_points_that_both_answered_count() -> None:
    ours = [
        row("a", tpot_ms_p50="10", pred_tpot_ms="11", tp="1"),
        row("b", tpot_ms_p50="10", pred_tpot_ms="30", tp="2"),
    ]
    peer = [row("a", pred_tpot_ms="20"), row("b", why_not="no such chip")]
    (found,) = points(ours, peer, "tpot")
    assert (found.ours, found.peer) == (pytest.approx(0.1), pytest.approx(1.0))


def test_nightly_repeats_count_once_by_the_median_measurement() -> None:
    ours = [row(str(night), tpot_ms_mean=str(value), pred_tpot_ms="10") for night, value in enumerate((10, 20, 40))]
    peer = [row(str(night), pred_tpot_ms="20") for night in range(3)]
    (found,) = points(ours, peer, "tpot")
    assert (found.ours, found.peer) == (pytest.approx(1.0), pytest.approx(0.0))


def test_a_median_and_a_mean_of_one_configuration_are_two_points() -> None:
    ours = [row("a", tpot_ms_p50="10", pred_tpot_ms="10"), row("b", tpot_ms_mean="14", pred_tpot_ms="10")]
    assert len(points(ours, [row("a", pred_tpot_ms="9"), row("b", pred_tpot_ms="9")], "tpot")) == 2


def test_quality_c_and_ttft_without_concurrency_are_left_out() -> None:
    figures = {"tpot_ms_p50": "10", "ttft_ms_p50": "10", "pred_tpot_ms": "10", "pred_ttft_ms": "10"}
    doubtful, rate_only = row("a", **figures, quality="C"), row("b", **figures)
    known = row("c", **figures, batch_or_concurrency="8")
    rows = [doubtful, rate_only, known]
    assert (len(points(rows, rows, "tpot")), len(points(rows, rows, "ttft"))) == (2, 1)


def test_every_cell_of_the_macro_mean_counts_alike() -> None:
    crowd = [row(f"a{i}", tpot_ms_p50="10", pred_tpot_ms="11", tp=str(i)) for i in range(9)]
    alone = row("b", hardware="L4", tpot_ms_p50="10", pred_tpot_ms="20")
    found = points([*crowd, alone], [*crowd, alone], "tpot")
    assert macro(found) == (pytest.approx((0.1 + 1.0) / 2), pytest.approx((0.1 + 1.0) / 2), 2)


def test_the_table_shows_median_and_mean_by_chip_and_overall() -> None:
    rows = [
        row(str(tp), tpot_ms_p50="10", pred_tpot_ms=str(value), tp=str(tp)) for tp, value in enumerate((11, 12, 16))
    ]
    assert table("tpot", points(rows, rows, "tpot")).splitlines()[2].replace(" ", "") == ("H100320.0%30.0%20.0%30.0%")


@pytest.mark.parametrize("content", [b"", b"row_id\n1\n", b"\xff\xfe\x00", b'row_id,"'])
def test_a_file_of_another_kind_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["compare_speed.py", str(bad), str(bad)])
    assert main() == 2
    assert "bad.csv" in capsys.readouterr().err


def test_the_command_prints_one_table_per_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = row("a", tpot_ms_p50="10", pred_tpot_ms="11")
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, told)
        writer.writeheader()
        writer.writerow(told)
    monkeypatch.setattr(sys, "argv", ["compare_speed.py", str(file), str(file)])
    assert main() == 0
    shown = capsys.readouterr().out
    assert "10.0 %" in shown
    assert "ttft: no point that both answered" in shown
