#!/usr/bin/env python3
"""Fit the speed model to measured rows and write its tables and the error tables of docs/speed.md.

usage: fit_speed.py measured.csv [--quick]

Writes polyfleet/speed/tables/{constants,bands,known}.csv and the tables between the markers in docs/speed.md. The same
rows give the same files. `--quick` leaves the held-out fits and the bands out.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from speed_bands import band_rows, inside
from speed_misses import (
    LARGE_SOURCE,
    Miss,
    after_one_row,
    after_other_rows,
    by,
    held_out,
    held_out_name,
    held_out_of,
    misses,
)
from speed_report import constants_table, markdown, overview, write_docs
from speed_samples import Sample, for_fit, samples_of

from polyfleet.speed.constants import Constant, table_of
from polyfleet.speed.fit import Fit, fit

TABLES = Path(__file__).resolve().parent.parent / "polyfleet" / "speed" / "tables"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def spreads(samples: Sequence[Sample]) -> list[Constant]:
    """Spread in ln of a replica's latencies around their median, from rows that state P99 and P50 (or the mean)."""
    constants = []
    for metric in ("ttft", "tpot"):
        groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        count = 0
        for s in samples:
            high = s.row.number(f"{metric}_ms_p99")
            middle = s.row.number(f"{metric}_ms_p50")
            if high and middle and high >= middle:
                groups[s.group].append(math.log(high / middle) / 2.326)
                count += 1
        value = statistics.median(statistics.median(v) for v in groups.values())
        constants.append(Constant(f"{metric}_spread", "all", math.exp(value), count))
    return constants


def write_constants(constants: Iterable[Constant]) -> None:
    rows = ([c.name, c.scope, f"{c.value:.6g}", str(c.rows)] for c in constants)
    write_csv(TABLES / "constants.csv", ("name", "scope", "value", "rows"), rows)


def write_known(samples: Iterable[Sample]) -> None:
    """Which models, chips and engines the constants were fitted on, with their rows."""
    cells = Counter((s.model, s.chip, s.family, s.point.keys["engine"]) for s in samples)
    rows = ([*key, str(n)] for key, n in sorted(cells.items()))
    write_csv(TABLES / "known.csv", ("model", "chip", "family", "engine", "rows"), rows)


def judge(samples: Sequence[Sample], full: Fit, fitted: Sequence[Miss]) -> None:
    """Predict every row with its source, chip or model left out; write the bands and the tables of docs/speed.md."""
    counts = Counter(s.source for s in samples)
    parts = held_out(samples, held_out_name(counts), full)
    families = held_out(samples, lambda s: s.family, full)
    bands = band_rows(parts, families)
    write_csv(TABLES / "bands.csv", ("metric", "scope", "p10", "p90", "groups", "rows"), bands)
    sources = [m for m in parts if counts[m.sample.source] < LARGE_SOURCE]
    large = [s for s in samples if counts[s.source] >= LARGE_SOURCE]
    sources += held_out_of(samples, large, lambda s: s.source, full)
    chips = held_out(samples, lambda s: s.chip, full)
    models = held_out(samples, lambda s: s.model, full)
    write_docs({
        "overview": overview({
            "in the fit": fitted, "source left out": sources, "source left out, large ones by model": parts,
            "chip left out": chips, "chip family left out": families, "model left out": models,
            "source left out, one row of the cell known": after_one_row(parts),
            "source left out, all other rows of the cell known": after_other_rows(parts),
        }),
        "constants": constants_table(full),
        "sources": markdown("source left out", by(sources, lambda s: s.source)),
        "chips": markdown("chip left out", by(chips, lambda s: s.chip)),
        "chips by source": markdown("chip, source left out", by(parts, lambda s: s.chip)),
        "models": markdown("model left out", by(models, lambda s: s.model)),
        "bands": inside(parts),
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    samples, left = samples_of(args.rows)
    print(f"{len(samples)} rows; left out: {left}")
    full = fit(for_fit(samples))
    constants = (*full.constants, *spreads(samples))
    TABLES.mkdir(exist_ok=True)
    write_constants(constants)
    write_known(samples)
    fitted = misses(samples, table_of(constants))
    print(overview({"in the fit": fitted}))
    if not args.quick:
        judge(samples, full, fitted)


if __name__ == "__main__":
    main()
