#!/usr/bin/env python3
"""Predict every measured row with constants fitted without it, for a comparison that no side was fitted on.

usage: python tools/predict_held_out.py measured.csv -o held.csv [--without source|model|chip]

One fit for each source (default), model or chip of the rows, made without its rows; its rows are then predicted. Writes
the input columns and the three predictions, as `polyfleet speed --rows` does, without bands.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from speed_misses import Miss, held_out
from speed_samples import Sample, for_fit, samples_of

from polyfleet.speed.fit import fit
from polyfleet.speed.rows import Row, read_rows

COLUMNS = {"throughput": "pred_throughput_output_tok_s", "ttft": "pred_ttft_ms", "tpot": "pred_tpot_ms"}
KEYS: dict[str, Callable[[Sample], str]] = {
    "source": lambda sample: sample.source,
    "model": lambda sample: sample.model,
    "chip": lambda sample: sample.chip,
}


def predicted(found: Iterable[Miss]) -> dict[int, dict[str, str]]:
    """By line of the file: the predictions, each the measurement over the miss."""
    by_line: dict[int, dict[str, str]] = {}
    for miss in found:
        value = miss.sample.values[miss.metric] * math.exp(-miss.ln)
        by_line.setdefault(miss.sample.row.line, {})[COLUMNS[miss.metric]] = f"{value:.6g}"
    return by_line


def write(path: Path, header: Sequence[str], rows: Iterable[Row], found: dict[int, dict[str, str]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*header, *COLUMNS.values()], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row.cells, **found.get(row.line, {})} for row in rows)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--without", choices=sorted(KEYS), default="source")
    given = parser.parse_args()
    samples, _ = samples_of(given.rows)
    found = held_out(samples, KEYS[given.without], fit(for_fit(samples)))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    write(given.output, *read_rows(given.rows), predicted(found))


if __name__ == "__main__":
    main()
