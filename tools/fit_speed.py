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
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.models import find_model
from polyfleet.speed.constants import Constant, Table, rates_of, table_of
from polyfleet.speed.fit import Fit, Measured, fit
from polyfleet.speed.point import Point, Regime
from polyfleet.speed.predict import METRICS, Batch, predict
from polyfleet.speed.row_load import is_speculative
from polyfleet.speed.row_point import try_point
from polyfleet.speed.rows import Row, read_rows
from polyfleet.speed.user import EXACT_HALF_ROWS

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "polyfleet" / "speed" / "tables"
DOCS = ROOT / "docs" / "speed.md"
WARM_STEPS = 3  # of a held-out fit, which starts from the full one
LEAST_GROUPS = 3  # of a family's own band
LEAST_ROWS = 5
DRAWN_GROUPS = 4  # groups at which a family's own band counts half
LARGE_SOURCE = 400  # rows from which on a source is left out model by model


@dataclass(frozen=True)
class Sample:
    """A usable row: its point and its measured values, and whether the constants may be fitted on it."""

    row: Row
    point: Point
    values: Mapping[str, float]
    fitted: bool

    @property
    def source(self) -> str:
        return self.row.text("source_group")

    @property
    def chip(self) -> str:
        return self.point.keys["chip"]

    @property
    def model(self) -> str:
        return self.point.keys["model"]

    @property
    def family(self) -> str:
        return self.point.keys["family"]

    @property
    def group(self) -> tuple[str, str, str]:
        return self.source, self.chip, self.model


def samples_of(path: Path) -> tuple[list[Sample], dict[str, int]]:
    """Samples of quality A and B, and how many rows were left out for which reason."""
    _, rows = read_rows(path)
    samples: list[Sample] = []
    left: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.text("quality") == "C":
            left["quality C"] += 1
            continue
        point = try_point(row, find_model, find_chip)
        if isinstance(point, str):
            left[point] += 1
            continue
        values = {m: found[1] for m in METRICS if (found := row.measured(m)) is not None}
        if not row.number("batch_or_concurrency"):
            values.pop("ttft", None)
        if point.keys["engine"] == "vllm-eager":
            values.pop("tpot", None)  # without graphs the host sets the pace: an upper bound, no measurement
        if not values:
            left["no throughput, TTFT or TPOT"] += 1
            continue
        samples.append(Sample(row, point, values, not is_speculative(row)))
    return samples, dict(left)


def for_fit(samples: Iterable[Sample]) -> list[Measured]:
    """What the constants are fitted on: plain decoding, settled loads, latencies that mean what they say."""
    chosen = []
    for s in samples:
        if not s.fitted or s.point.load.regime is Regime.BURST:
            continue
        point, values = s.point, dict(s.values)
        if point.load.regime in (Regime.RATE, Regime.PROMISE):
            found = by_littles_law(s)
            if found is None:
                continue
            point, values = found
        if point.load.regime is Regime.SATURATED or distrusted_ttft(s):
            values.pop("ttft", None)
        if values:
            chosen.append(Measured(point, values))
    return chosen


def by_littles_law(sample: Sample) -> tuple[Point, dict[str, float]] | None:
    """A run at a rate as one at the number of requests in flight that its rate and latencies imply; None where the row
    lacks one of them. Only latencies are fitted there: throughput follows from them."""
    latencies = {m: found[1] for m in ("ttft", "tpot") if (found := sample.row.measured(m)) is not None}
    tokens_per_s = sample.values.get("throughput")
    if len(latencies) < 2 or tokens_per_s is None:
        return None
    load, replicas = sample.point.load, sample.point.replicas
    answer_s = (latencies["ttft"] + load.output_tokens * latencies["tpot"]) / 1e3
    in_flight = tokens_per_s / load.output_tokens * answer_s / replicas
    steady = replace(load, regime=Regime.CONCURRENCY, in_flight=in_flight)
    return replace(sample.point, load=steady, keys={**sample.point.keys, "crowd": "median"}), latencies


def distrusted_ttft(sample: Sample) -> bool:
    """TTFTs that show something else: waiting for slots that a run did not state, or prompts cached before."""
    if sample.source != "aiconfigurator gap-analysis":
        return False
    engine, version = sample.row.text("engine"), sample.row.text("engine_version")
    slot_wait = engine == "TensorRT-LLM" and version == "1.0.0rc3" and "Llama-3.1-8B" in sample.model
    return slot_wait or (engine == "SGLang" and sample.chip == "H200-SXM")


@dataclass(frozen=True)
class Miss:
    """One prediction against one measurement: `ln` of measured over predicted."""

    sample: Sample
    metric: str
    ln: float


def misses(samples: Sequence[Sample], table: Table) -> list[Miss]:
    """All misses of these samples under a table of constants."""
    if not samples:
        return []
    found = predict(Batch.of([s.point for s in samples]), rates_of(table, [s.point.keys for s in samples]))
    return [
        Miss(s, metric, math.log(value / float(found[metric][i])))
        for i, s in enumerate(samples)
        for metric, value in s.values.items()
    ]


def held_out(samples: Sequence[Sample], key: Callable[[Sample], str], full: Fit) -> list[Miss]:
    """Misses of each group of samples under constants fitted without it."""
    return held_out_of(samples, samples, key, full)


def held_out_of(
    samples: Sequence[Sample], judged: Sequence[Sample], key: Callable[[Sample], str], full: Fit
) -> list[Miss]:
    """The same for the groups of `judged` only."""
    start = {(c.name, c.scope): math.log(c.value) for c in full.constants}
    found: list[Miss] = []
    for name in sorted({key(s) for s in judged}):
        kept = for_fit(s for s in samples if key(s) != name)
        without = fit(kept, start, WARM_STEPS)
        found += misses([s for s in samples if key(s) == name], table_of(without.constants))
        print(f"  without {name}", flush=True)
    return found


def percent(ln: float) -> float:
    return (math.exp(ln) - 1) * 100


def summary(found: Sequence[Miss]) -> dict[str, tuple[int, float, float, float]]:
    """By metric: rows, median error, mean over chip x model cells of each cell's median, bias; in per cent."""
    result = {}
    for metric in METRICS:
        of_metric = [m for m in found if m.metric == metric]
        if not of_metric:
            continue
        cells: dict[tuple[str, str], list[float]] = defaultdict(list)
        for m in of_metric:
            cells[m.sample.chip, m.sample.model].append(abs(m.ln))
        macro = statistics.mean(statistics.median(v) for v in cells.values())
        lns = [m.ln for m in of_metric]
        result[metric] = (
            len(of_metric), percent(statistics.median(map(abs, lns))), percent(macro), percent(-statistics.median(lns)),
        )  # fmt: skip
    return result


def by(found: Sequence[Miss], key: Callable[[Sample], str]) -> dict[str, list[Miss]]:
    grouped: dict[str, list[Miss]] = defaultdict(list)
    for m in found:
        grouped[key(m.sample)].append(m)
    return dict(sorted(grouped.items()))


def markdown(title: str, groups: Mapping[str, Sequence[Miss]]) -> str:
    """A table: one line per group, n / median / bias per metric."""
    lines = [f"| {title} | throughput: rows, median, bias | TTFT | TPOT |", "|---|---|---|---|"]
    for name, found in groups.items():
        s = summary(found)
        cells = [f"{s[m][0]}, {s[m][1]:.0f} %, {s[m][3]:+.0f} %" if m in s else "" for m in METRICS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def weighted_quantiles(found: Sequence[Miss], shares: Sequence[float]) -> list[float]:
    """Quantiles of measured over predicted, every source x chip x model group counting alike."""
    sizes: dict[tuple[str, str, str], int] = defaultdict(int)
    for m in found:
        sizes[m.sample.group] += 1
    ordered = sorted(found, key=lambda m: m.ln)
    weights = np.array([1 / sizes[m.sample.group] for m in ordered])
    at = (np.cumsum(weights) - weights / 2) / weights.sum()
    return [math.exp(float(np.interp(share, at, [m.ln for m in ordered]))) for share in shares]


def band_rows(sources: Sequence[Miss], families: Sequence[Miss]) -> list[list[str]]:
    """Rows of bands.csv: each family's own from rows of sources left out, drawn towards all families' the more the
    fewer its groups; families left out for chips without rows; one row of a cell known for the user's own builds."""
    rows = []
    for metric in METRICS:
        of_metric = [m for m in sources if m.metric == metric]
        pooled = band(of_metric)
        for family, found in by(of_metric, lambda s: s.family).items():
            groups = len({m.sample.group for m in found})
            if groups >= LEAST_GROUPS and len(found) >= LEAST_ROWS:
                share = groups / (groups + DRAWN_GROUPS)
                own = [a**share * b ** (1 - share) for a, b in zip(band(found), pooled, strict=True)]
                rows.append(band_row(metric, f"family={family}", own, found))
        rows.append(band_row(metric, "calibrated", pooled, of_metric))
        strange = [m for m in families if m.metric == metric]
        rows.append(band_row(metric, "physics", band(strange), strange))
        corrected = after_one_row([m for m in sources if m.metric == metric])
        rows.append(band_row(metric, "own", band(corrected), corrected))
    return rows


def band(found: Sequence[Miss]) -> list[float]:
    return weighted_quantiles(found, (0.1, 0.9))


def band_row(metric: str, scope: str, factors: Sequence[float], found: Sequence[Miss]) -> list[str]:
    groups = len({m.sample.group for m in found})
    return [metric, scope, f"{factors[0]:.4f}", f"{factors[1]:.4f}", str(groups), str(len(found))]


def after_one_row(found: Sequence[Miss]) -> list[Miss]:
    """What is left of the misses of a cell (source, chip, model, engine, precision) when one of its rows is the user's
    own measurement: every row in turn (of ten at most), every other row judged."""
    cells: dict[tuple[str, ...], list[Miss]] = defaultdict(list)
    for m in found:
        keys = m.sample.point.keys
        cells[(m.metric, *m.sample.group, keys["engine"], keys["precision"])].append(m)
    left = []
    for cell in cells.values():
        for own in cell[:: max(len(cell) // 10, 1)]:
            known = own.ln / (1 + EXACT_HALF_ROWS)
            left += [Miss(m.sample, m.metric, m.ln - known) for m in cell if m is not own]
    return left


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


def held_out_name(counts: Mapping[str, int]) -> Callable[[Sample], str]:
    """Groups to leave out: sources, the few very large ones model by model, since the fit that ships has their rest."""
    return lambda s: s.source if counts[s.source] < LARGE_SOURCE else f"{s.source} | {s.model}"


def inside(found: Sequence[Miss], bands: Mapping[tuple[str, str], tuple[float, float]]) -> str:
    """Share of misses inside their family's band, by family and metric, as a table."""
    lines = ["| family | throughput | TTFT | TPOT |", "|---|---|---|---|"]
    for family, members in {"all": list(found), **by(found, lambda s: s.family)}.items():
        cells = []
        for metric in METRICS:
            hits = []
            for m in (m for m in members if m.metric == metric):
                low, high = bands.get((metric, f"family={m.sample.family}"), bands[metric, "calibrated"])
                hits.append(math.log(min(low, 1)) <= m.ln <= math.log(max(high, 1)))
            cells.append(f"{100 * sum(hits) / len(hits):.0f} % of {len(hits)}" if len(hits) >= LEAST_ROWS else "")
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def overview(tables: Mapping[str, Sequence[Miss]]) -> str:
    lines = ["| rows predicted | throughput: median, macro | TTFT | TPOT |", "|---|---|---|---|"]
    for name, found in tables.items():
        s = summary(found)
        lines.append(f"| {name} | " + " | ".join(f"{s[m][1]:.1f} %, {s[m][2]:.0f} %" for m in METRICS) + " |")
    return "\n".join(lines)


def write_docs(sections: Mapping[str, str]) -> None:
    """Put each section between its markers in docs/speed.md."""
    text = DOCS.read_text(encoding="utf-8")
    for name, body in sections.items():
        begin, end = f"<!-- made by tools/fit_speed.py: {name} -->", f"<!-- end: {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{DOCS}: no markers for {name}")
        head, rest = text.split(begin, 1)
        text = head + begin + "\n" + body + "\n" + end + rest.split(end, 1)[1]
    DOCS.write_text(text, encoding="utf-8")


def constants_table(fitted: Fit) -> str:
    shared = [c for c in fitted.constants if c.scope == "all" or c.scope.startswith("crowd")]
    lines = ["| constant | scope | value | rows |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.scope} | {c.value:.3g} | {c.rows} |" for c in shared]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    samples, left = samples_of(args.rows)
    print(f"{len(samples)} rows; left out: {left}")
    full = fit(for_fit(samples))
    constants = (*full.constants, *spreads(samples))
    TABLES.mkdir(exist_ok=True)
    write_csv(TABLES / "constants.csv", ("name", "scope", "value", "rows"),
              ([c.name, c.scope, f"{c.value:.6g}", str(c.rows)] for c in constants))  # fmt: skip
    cells: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for s in samples:
        cells[s.model, s.chip, s.family, s.point.keys["engine"]] += 1
    write_csv(TABLES / "known.csv", ("model", "chip", "family", "engine", "rows"),
              ([*key, str(n)] for key, n in sorted(cells.items())))  # fmt: skip
    fitted = misses(samples, table_of(constants))
    print(overview({"in the fit": fitted}))
    if args.quick:
        return
    counts = {name: sum(s.source == name for s in samples) for name in {s.source for s in samples}}
    parts = held_out(samples, held_out_name(counts), full)
    families = held_out(samples, lambda s: s.family, full)
    bands = band_rows(parts, families)
    write_csv(TABLES / "bands.csv", ("metric", "scope", "p10", "p90", "groups", "rows"), bands)
    sources = [m for m in parts if counts[m.sample.source] < LARGE_SOURCE]
    large = [s for s in samples if counts[s.source] >= LARGE_SOURCE]
    sources += held_out_of(samples, large, lambda s: s.source, full)
    chips = held_out(samples, lambda s: s.chip, full)
    models = held_out(samples, lambda s: s.model, full)
    limits = {(r[0], r[1]): (float(r[2]), float(r[3])) for r in bands}
    write_docs({
        "overview": overview({
            "in the fit": fitted, "source left out": sources, "source left out, large ones by model": parts,
            "chip left out": chips, "chip family left out": families, "model left out": models,
            "source left out, one row of the cell known": after_one_row(parts),
        }),
        "constants": constants_table(full),
        "sources": markdown("source left out", by(sources, lambda s: s.source)),
        "chips": markdown("chip left out", by(chips, lambda s: s.chip)),
        "chips by source": markdown("chip, source left out", by(parts, lambda s: s.chip)),
        "models": markdown("model left out", by(models, lambda s: s.model)),
        "bands": inside(parts, limits),
    })  # fmt: skip


if __name__ == "__main__":
    main()
