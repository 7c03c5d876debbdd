"""`polyfleet calibrate`: measurements are taken in, once, and correct what follows; wrong ones change nothing."""

import csv
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "measured.csv"


@pytest.fixture
def rows(tmp_path):
    """Write the example's rows with some cells changed; gives the file."""

    def write(**changed):
        with EXAMPLE.open() as file:
            found = list(csv.DictReader(file))
        path = tmp_path / "rows.csv"
        with path.open("w") as file:
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows({**row, **changed} for row in found)
        return path

    return write


def test_a_measurement_is_taken_once_and_predictions_follow_it(polyfleet, tmp_path):
    done = polyfleet("calibrate", EXAMPLE)
    assert done.returncode == 0
    assert "2 rows added" in done.stdout
    assert "0 rows added" in polyfleet("calibrate", EXAMPLE).stdout
    with (tmp_path / ".polyfleet" / "measurements.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    assert polyfleet("speed", "--rows", EXAMPLE, "-o", "out.csv").returncode == 0
    with (tmp_path / "out.csv").open() as file:
        for row in csv.DictReader(file):
            predicted, measured = float(row["pred_throughput_output_tok_s"]), float(row["throughput_output_tok_s"])
            assert abs(predicted / measured - 1) < 0.1
            assert row["evidence"] == "measured"


@pytest.mark.parametrize(
    ("column", "value"),
    [("input_len", "abc"), ("n_chips", "-5"), ("tpot_ms_mean", "0"), ("batch_or_concurrency", "nan"), ("tp", "1e999")],
)
def test_a_cell_that_is_no_number_above_zero_is_refused_and_nothing_is_kept(polyfleet, rows, tmp_path, column, value):
    done = polyfleet("calibrate", rows(**{column: value}))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"rows.csv:2: {column} is not a number above zero" in done.stderr
    assert not (tmp_path / ".polyfleet").exists()


def test_a_file_without_rows_is_refused(polyfleet, tmp_path):
    (tmp_path / "none.csv").write_text(EXAMPLE.read_text().splitlines()[0] + "\n")
    done = polyfleet("calibrate", "none.csv")
    assert done.returncode == 2
    assert "holds no rows" in done.stderr
