#!/usr/bin/env python3
"""Two speed predictions side by side, on the points that both answered.

usage: python tools/compare_speed.py OURS.csv PEER.csv [--metric tpot|throughput|ttft]

Both files are the same measured rows with the columns that `polyfleet speed --rows` adds; rows are joined by `row_id`.
The comparison is fair where neither side was fitted on the rows: give predictions made with each row's source left out.

Error is exp(|ln(predicted / measured)|) - 1, so that guessing low gains nothing. Repeats of one configuration (nightly
runs) count once, by the median of what was measured. Quality C is left out, and TTFT where no concurrency is stated.
The macro mean is over chip x model cells of each cell's median: every chip counts alike, however many rows it has.
"""

from __future__ import annotations

import argparse
import collections
import csv
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

Row = dict[str, str]

PREDICTED = {"tpot": "pred_tpot_ms", "throughput": "pred_throughput_output_tok_s", "ttft": "pred_ttft_ms"}
CONFIGURATION = (
    "source_group",
    "engine",
    "engine_version",
    "hardware",
    "n_chips",
    "tp",
    "pp",
    "ep",
    "dp",
    "model",
    "weight_dtype",
    "kv_dtype",
    "input_len",
    "output_len",
    "batch_or_concurrency",
    "scenario",
)
TABLE = "{:<16} {:>6}  {:>8} {:>8}  {:>8} {:>8}"


class BadFileError(ValueError):
    """A file that is not what `polyfleet speed --rows` writes."""


@dataclass(frozen=True)
class Point:
    """One configuration that was measured and that both sides answered; errors as fractions (0.1 is 10 %)."""

    chip: str
    model: str
    ours: float
    peer: float


def number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 and math.isfinite(value) else None


def error(predicted: float, measured: float) -> float:
    """exp(|ln(predicted / measured)|) - 1: twice as high and half as high are both 1."""
    return max(predicted / measured, measured / predicted) - 1


def measured(row: Row, metric: str) -> tuple[str, float] | None:
    """(which statistic, the value): medians before means; None where the row does not tell."""
    if metric == "throughput":
        value = number(row.get("throughput_output_tok_s"))
        return ("", value) if value else None
    if metric == "ttft" and not number(row.get("batch_or_concurrency")):
        return None
    told = ((name, number(row.get(f"{metric}_ms_{name}"))) for name in ("p50", "mean"))
    return next(((name, value) for name, value in told if value), None)


def points(ours: Iterable[Row], peer: Iterable[Row], metric: str) -> list[Point]:
    """The configurations that both sides answered, each with both errors."""
    column, other = PREDICTED[metric], {row["row_id"]: row for row in peer}
    repeats: dict[tuple[str, ...], list[tuple[float, float, float]]] = collections.defaultdict(list)
    for row in ours:
        truth, a = measured(row, metric), number(row.get(column))
        b = number(other.get(row["row_id"], {}).get(column))
        if row.get("quality") != "C" and truth and a and b:
            key = (*(row.get(name, "") for name in CONFIGURATION), truth[0])
            repeats[key].append((truth[1], a, b))
    return [point(key, group) for key, group in repeats.items()]


def point(key: Sequence[str], group: Sequence[tuple[float, float, float]]) -> Point:
    truth, a, b = (statistics.median(values) for values in zip(*group, strict=True))
    chip, model = key[CONFIGURATION.index("hardware")], key[CONFIGURATION.index("model")]
    return Point(chip, model, error(a, truth), error(b, truth))


def macro(found: Sequence[Point]) -> tuple[float, float, int]:
    """(ours, peer, cells): the mean over chip x model cells of each cell's median error."""
    cells: dict[tuple[str, str], list[Point]] = collections.defaultdict(list)
    for item in found:
        cells[item.chip, item.model].append(item)
    ours = statistics.fmean(statistics.median(item.ours for item in cell) for cell in cells.values())
    peer = statistics.fmean(statistics.median(item.peer for item in cell) for cell in cells.values())
    return ours, peer, len(cells)


def line(name: str, found: Sequence[Point]) -> str:
    ours, peer = [item.ours for item in found], [item.peer for item in found]
    figures = (statistics.median(ours), statistics.fmean(ours), statistics.median(peer), statistics.fmean(peer))
    return TABLE.format(name, len(found), *(f"{100 * figure:.1f} %" for figure in figures))


def table(metric: str, found: Sequence[Point]) -> str:
    """The table of one metric, errors in per cent."""
    if not found:
        return f"{metric}: no point that both answered"
    head = TABLE.format(metric, "points", "ours med", "mean", "peer med", "mean")
    chips = sorted({item.chip for item in found})
    by_chip = [line(chip, [item for item in found if item.chip == chip]) for chip in chips]
    ours, peer, cells = macro(found)
    last = TABLE.format("macro mean", f"{cells} c.", f"{100 * ours:.1f} %", "", f"{100 * peer:.1f} %", "")
    return "\n".join([head, "-" * len(head), *by_chip, line("all", found), last])


def read(path: Path) -> list[Row]:
    """The rows of a file; raises BadFileError with what is missing."""
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows, names = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise BadFileError(f"{path}: cannot be read: {problem}") from problem
    missing = {"row_id", "hardware", "model", *PREDICTED.values()} - set(names)
    if missing:
        raise BadFileError(f"{path}: no column {', '.join(sorted(missing))}; `polyfleet speed --rows` writes them")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ours", type=Path)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--metric", choices=sorted(PREDICTED), help="default: all three")
    given = parser.parse_args()
    try:
        ours, peer = read(given.ours), read(given.peer)
    except BadFileError as problem:
        print(problem, file=sys.stderr)
        return 2
    for metric in [given.metric] if given.metric else PREDICTED:
        print(table(metric, points(ours, peer, metric)), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
