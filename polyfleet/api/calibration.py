"""The user's own measurements: taken into the user's catalog, where they correct later predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from polyfleet.api.load import find_model, speed_model
from polyfleet.errors import RowsError
from polyfleet.files import make_folder, write_whole
from polyfleet.settings import Settings

if TYPE_CHECKING:
    from polyfleet.speed.model import SpeedModel
    from polyfleet.speed.user import CalibratedRow


@dataclass(frozen=True, slots=True)
class Correction:
    """How far predictions of one metric were off on the rows taken, before and after: median of
    exp(|ln(predicted / measured)|) - 1, and the median sign (above 0: predicted too high)."""

    metric: str
    rows: int
    error_before: float
    bias_before: float
    error_after: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibrate` did: the file that holds the measurements, rows added and rows that were there before."""

    file: Path
    added: int
    before: int
    corrections: tuple[Correction, ...]


def calibrate(rows: Path, defaults: Mapping[str, str] | None = None, settings: Settings | None = None) -> Calibration:
    """Take a user's measurements into the user's own catalog.

    `rows`: a CSV with the columns of the calibration table, or the JSON of vllm bench serve, guidellm or AIPerf;
    `defaults` fills columns that it does not state. A row that is there already is not taken twice.
    Raises RowsError, and changes nothing, where a row cannot be told.
    """
    from polyfleet.catalog.chips import find_chip
    from polyfleet.speed.table import calibrated_rows, cells_csv, measured_rows

    home = settings or Settings.from_environment()
    file = home.measurements
    old = measured_rows(file) if file.exists() else []
    held = [_filled(row.cells) for row in old]
    new = [row for row in measured_rows(rows, defaults) if _filled(row.cells) not in held]
    try:
        taken = calibrated_rows(new, rows, find_model, find_chip)
    except RowsError as error:
        raise error.at(str(rows)) from None
    before = speed_model(home)
    if not taken and not old:
        raise RowsError("holds no rows", file=str(rows))
    make_folder(home.home)
    write_whole(file, cells_csv([row.cells for row in (*old, *new)]))
    return Calibration(file, len(new), len(old), _corrections(taken, before, speed_model(home)))


def _filled(cells: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in cells.items() if value}


def _corrections(taken: Sequence[CalibratedRow], before: SpeedModel, after: SpeedModel) -> tuple[Correction, ...]:
    if not taken:
        return ()
    points = [row.point for row in taken]
    old, new = before.predict(points), after.predict(points)
    found = []
    for metric in ("throughput", "ttft", "tpot"):
        at = [i for i, row in enumerate(taken) if metric in row.values]
        if at:
            logs = [[math.log(made[metric][i] / taken[i].values[metric]) for i in at] for made in (old, new)]
            errors = [math.expm1(median(abs(v) for v in each)) for each in logs]
            found.append(Correction(metric, len(at), errors[0], math.expm1(median(logs[0])), errors[1]))
    return tuple(found)
