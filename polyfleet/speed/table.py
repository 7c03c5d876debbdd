"""Tables of rows: predictions beside measurements, and a user's own measurements."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyfleet.errors import RowsError
from polyfleet.speed.harness import read_harness_json
from polyfleet.speed.model import SpeedModel, load_speed_model
from polyfleet.speed.point import Point
from polyfleet.speed.row_point import FindChip, FindModel, try_point
from polyfleet.speed.rows import MEASURED, NEEDED, NUMBERS, Row, read_rows
from polyfleet.speed.user import CalibratedRow

COLUMNS = {"throughput": "pred_throughput_output_tok_s", "ttft": "pred_ttft_ms", "tpot": "pred_tpot_ms"}
ADDED = (
    *(name for column in COLUMNS.values() for name in (column, f"{column}_p10", f"{column}_p90")),
    "evidence",
    "why_not",
)


def predict_rows(
    rows: Sequence[Row], find_model: FindModel, find_chip: FindChip, model: SpeedModel | None = None
) -> list[dict[str, str]]:
    """Each row's cells with its predictions added (`ADDED`).

    A row that cannot be predicted has empty predictions and says why in `why_not`; the others go on.
    """
    speed = model or load_speed_model()
    points = [try_point(row, find_model, find_chip) for row in rows]
    known = [(i, p) for i, p in enumerate(points) if isinstance(p, Point)]
    filled = [dict(row.cells) | dict.fromkeys(ADDED, "") for row in rows]
    for i, why in enumerate(points):
        if isinstance(why, str):
            filled[i]["why_not"] = why
    if not known:
        return filled
    found = speed.predict([p for _, p in known])
    for metric, column in COLUMNS.items():
        for (i, point), value in zip(known, found[metric].tolist(), strict=True):
            band = speed.factors(metric, point.keys).band(value)
            figures = (f"{band.p50:.6g}", f"{band.p10:.6g}", f"{band.p90:.6g}")
            filled[i] |= dict(zip((column, f"{column}_p10", f"{column}_p90"), figures, strict=True))
    for i, point in known:
        filled[i]["evidence"] = str(speed.evidence(point.keys))
    return filled


def rows_csv(header: Sequence[str], filled: Sequence[dict[str, str]]) -> str:
    """The text of a CSV with the columns of `header` and the added ones."""
    text = io.StringIO()
    names = [*(name for name in header if name not in ADDED), *ADDED]
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(filled)
    return text.getvalue()


def cells_csv(cells: Sequence[Mapping[str, str]]) -> str:
    """The text of a CSV of these rows; its columns are all that any row has, those a prediction needs first."""
    names = [*NEEDED, *sorted({name for row in cells for name in row if name and name not in NEEDED})]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(cells)
    return text.getvalue()


def read_user_rows(
    path: Path, find_model: FindModel, find_chip: FindChip, defaults: Mapping[str, str] | None = None
) -> list[CalibratedRow]:
    """A user's measurements, ready for `load_speed_model`: `measured_rows`, then `calibrated_rows`."""
    return calibrated_rows(measured_rows(path, defaults), path, find_model, find_chip)


def measured_rows(path: Path, defaults: Mapping[str, str] | None = None) -> list[Row]:
    """The rows of a user's file: a CSV with the columns of the calibration table, or the JSON that `vllm bench serve`,
    guidellm or AIPerf writes.

    The JSON does not tell the chip, the build and sometimes the model: `defaults` holds them by column name
    (`hardware`, `n_chips`, `tp`, `engine`, `model`, `weight_dtype`, ...); they also fill blank cells of a CSV.
    Raises RowsError where the file cannot be read or is of no known form.
    """
    given = dict(defaults or {})
    if path.suffix.lower() in (".json", ".jsonl"):
        return read_harness_json(path, given)
    _, rows = read_rows(path)
    return [Row(row.line, {**row.cells, **{k: v for k, v in given.items() if not row.text(k)}}) for row in rows]


def calibrated_rows(rows: Sequence[Row], path: Path, find_model: FindModel, find_chip: FindChip) -> list[CalibratedRow]:
    """The rows with the points they were taken at. Raises RowsError with file and line where one cannot be told."""
    return [_calibrated(row, path, find_model, find_chip) for row in rows]


def _calibrated(row: Row, path: Path, find_model: FindModel, find_chip: FindChip) -> CalibratedRow:
    for column in (*NUMBERS, *(c for columns in MEASURED.values() for c in columns)):
        if row.text(column) and row.number(column) is None:
            raise RowsError(
                f"{column} is not a number above zero", file=str(path), line=row.line, value=row.text(column),
                hint="leave the cell blank where it is not known",
            )  # fmt: skip
    point = try_point(row, find_model, find_chip)
    if isinstance(point, str):
        raise RowsError(point, file=str(path), line=row.line)
    values = {metric: found[1] for metric in MEASURED if (found := row.measured(metric)) is not None}
    if not values:
        raise RowsError(
            "no throughput, TTFT or TPOT", file=str(path), line=row.line,
            hint="fill throughput_output_tok_s, ttft_ms_p50 or _mean, or tpot_ms_p50 or _mean",
        )  # fmt: skip
    return CalibratedRow(point, values, f"{path.name}:{row.line}")
