"""The point that a row describes: its build, its load, and what its figures hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from polyfleet.errors import PolyfleetError, RowsError
from polyfleet.speed.point import Load, Point, keys_of
from polyfleet.speed.row_build import build_of_row
from polyfleet.speed.row_load import crowd_key, load_of_row
from polyfleet.speed.rows import Row
from polyfleet.speed.shape import shape_of
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Model

FindModel = Callable[[str], Model]
FindChip = Callable[[str], Chip]

_LEAST = 1e-3
_MOST = {
    "n_chips": 1e5, "tp": 1e5, "pp": 1e3, "ep": 1e5, "dp": 1e5, "input_len": 1e8, "output_len": 1e8,
    "batch_or_concurrency": 1e7,
}  # fmt: skip


def try_point(row: Row, find_model: FindModel, find_chip: FindChip) -> Point | str:
    """The row's point, or why it has none."""
    try:
        return point_of_row(row, find_model, find_chip)
    except PolyfleetError as error:
        return str(error)


def point_of_row(row: Row, find_model: FindModel, find_chip: FindChip) -> Point:
    """The point that a row describes.

    Raises RowsError (or the finder's own InputError) where it cannot be told.
    """
    _refuse_absurd(row)
    chip = find_chip(row.text("hardware"))
    model = find_model(row.text("model"))
    build, replicas = build_of_row(row, model, chip)
    shape = shape_of(model, chip, build)
    load = _per_replica(load_of_row(row), replicas)
    keys = keys_of(model, chip, build)
    keys |= {"harness": harness_key(row), "crowd": crowd_key(row), "era": era_key(row)}
    return Point(shape, keys, load, replicas)


def _refuse_absurd(row: Row) -> None:
    for column, most in _MOST.items():
        value = row.number(column)
        if value is not None and not _LEAST <= value <= most:
            raise RowsError(
                f"{column} is out of range", line=row.line, value=row.text(column), hint=f"at most {most:g}"
            )


def _per_replica(load: Load, replicas: float) -> Load:
    """The same load shared by equal replicas; a compiled batch is each replica's own."""
    return replace(load, in_flight=load.in_flight / replicas, rate_per_s=load.rate_per_s / replicas)


def harness_key(row: Row) -> str:
    """Who measured: rows of one hand and one engine version share what is theirs alone."""
    return f"{row.text('source_group')} {row.text('engine_version')[:4]}".strip()


def era_key(row: Row) -> str:
    """`early` for runs before 2025: engines of that time were another software on the same chips."""
    date = row.text("date")
    return "early" if date[:4].isdigit() and int(date[:4]) < 2025 else "now"
