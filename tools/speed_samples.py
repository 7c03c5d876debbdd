"""Measured rows as samples: which are used, and which of their figures the constants are fitted on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.models import find_model
from polyfleet.speed.fit import Measured
from polyfleet.speed.point import Point, Regime
from polyfleet.speed.predict import METRICS
from polyfleet.speed.row_load import is_speculative
from polyfleet.speed.row_point import try_point
from polyfleet.speed.rows import Row, read_rows


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
