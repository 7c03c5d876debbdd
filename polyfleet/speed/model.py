"""The speed model: what a build does, how sure that is, and where the number comes from."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

import numpy as np

from polyfleet.speed.bands import Factors, Key, factors_for, packaged_bands
from polyfleet.speed.capacity import Limits, capacities
from polyfleet.speed.constants import Table, packaged_constants, rates_of, table_of
from polyfleet.speed.memory import free_bytes, held_bytes
from polyfleet.speed.point import Load, Point, Regime, keys_of, point_of
from polyfleet.speed.predict import Batch, predict
from polyfleet.speed.rates import Rates
from polyfleet.speed.shape import Floats, Shape, shape_of
from polyfleet.speed.user import CalibratedRow, Corrections
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.demand import Bucket
from polyfleet.terms.evidence import Evidence
from polyfleet.terms.model import Model
from polyfleet.terms.slo import Slo
from polyfleet.terms.speed import Performance, Speed

_LEAST_TOKENS = 2048.0  # a replica that cannot hold one such sequence does not serve


@dataclass(frozen=True, slots=True)
class Known:
    """Which models, chips and engines the packaged constants were fitted on."""

    cells: frozenset[tuple[str, str, str]] = frozenset()
    families: frozenset[str] = frozenset()

    def evidence(self, keys: Mapping[str, str]) -> Evidence:
        """How near the rows are to a point."""
        if (keys["model"], keys["chip"], keys["engine"]) in self.cells:
            return Evidence.MEASURED
        return Evidence.CALIBRATED if keys["family"] in self.families else Evidence.PHYSICS


@dataclass(frozen=True, slots=True, eq=False)
class SpeedModel:
    """Constants, bands and the user's corrections. Build it with `load_speed_model`."""

    table: Table
    bands: Mapping[Key, Factors]
    known: Known
    corrections: Corrections = field(default_factory=Corrections)
    _rates: dict[tuple[tuple[str, str], ...], Rates] = field(default_factory=dict, repr=False)

    def fits(self, model: Model, chip: Chip, build: Build) -> str:
        """'' where the weights and one sequence of 2,048 tokens fit in memory, else what is missing."""
        shape = shape_of(model, chip, build)
        return _memory_gap(shape)

    def performance(
        self,
        model: Model,
        chip: Chip,
        build: Build,
        input_tokens: float,
        output_tokens: float,
        concurrency: float,
        cached_tokens: float = 0.0,
    ) -> Performance:
        """One replica with `concurrency` requests in flight, each of these lengths; TTFT and TPOT are means."""
        load = Load(Regime.CONCURRENCY, input_tokens, output_tokens, in_flight=concurrency, cached_tokens=cached_tokens)
        return self._performance(point_of(model, chip, build, load), concurrency)

    def offline(self, model: Model, chip: Chip, build: Build, input_tokens: float, output_tokens: float) -> Performance:
        """One replica whose every slot is always taken: the largest batch that memory holds."""
        load = Load(Regime.SATURATED, input_tokens, output_tokens)
        return self._performance(point_of(model, chip, build, load), 0.0)

    def capacity(
        self, model: Model, chip: Chip, build: Build, buckets: Sequence[Bucket], slo: Slo
    ) -> tuple[Speed, ...]:
        """The highest load of each size bucket that one replica sustains under `slo`, as if it served that bucket only.

        Memory, the waiting inside the engine and the spread of latencies around their middle are counted; the waiting
        before the replica is not.
        """
        keys = keys_of(model, chip, build) | {"crowd": "median"}
        shape = shape_of(model, chip, build)
        evidence = self.evidence(keys)
        gap = _memory_gap(shape)
        limits = Limits.of(slo, self.table)
        return capacities(
            shape, self._rates_of(keys), buckets, limits, scaled=self._scaled(keys), evidence=evidence, memory_gap=gap
        )

    def evidence(self, keys: Mapping[str, str]) -> Evidence:
        """`measured` where this model, chip and engine were, `calibrated` where the family was, else `physics`."""
        return Evidence.MEASURED if self.corrections.measured(keys) else self.known.evidence(keys)

    def predict(self, points: Sequence[Point]) -> dict[str, Floats]:
        """`throughput`, `ttft`, `tpot` of each point, the user's corrections applied."""
        found = predict(Batch.of(points), rates_of(self.table, [p.keys for p in points]))
        if self.corrections.offsets:
            for metric in found:
                found[metric] *= np.exp([self.corrections.ln_factor(metric, p.keys) for p in points])
        return found

    def factors(self, metric: str, keys: Mapping[str, str]) -> Factors:
        """How far a prediction of this metric may be off."""
        evidence = "own" if self.corrections.measured(keys) else str(self.evidence(keys))
        return factors_for(self.bands, metric, keys["family"], evidence)

    def _performance(self, point: Point, concurrency: float) -> Performance:
        found = self.predict([point])
        bands = {m: self.factors(m, point.keys).band(float(found[m][0])) for m in found}
        return Performance(concurrency, bands["throughput"], bands["ttft"], bands["tpot"], self.evidence(point.keys))

    def _scaled(self, keys: Mapping[str, str]) -> dict[str, tuple[float, float, float]]:
        """By metric: what to multiply a plain prediction with at P10, in the middle, and at P90."""
        scaled = {}
        for metric in ("throughput", "ttft", "tpot"):
            middle = math.exp(self.corrections.ln_factor(metric, keys))
            band = self.factors(metric, keys).band(middle)
            scaled[metric] = (band.p10, band.p50, band.p90)
        return scaled

    def _rates_of(self, keys: Mapping[str, str]) -> Rates:
        known = tuple(sorted(keys.items()))
        if known not in self._rates:
            self._rates[known] = rates_of(self.table, [keys])
        return self._rates[known]


def _memory_gap(shape: Shape) -> str:
    free = float(free_bytes(shape))
    need = float(held_bytes(shape, _LEAST_TOKENS))
    if free >= need:
        return ""
    short = (need - free) / 2**30
    return f"memory: weights take {float(shape.weight_bytes) / 2**30:.1f} GiB a chip, {short:.1f} GiB too many"


@cache
def _packaged_known() -> Known:
    text = files("polyfleet.speed").joinpath("tables/known.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return Known(frozenset((r["model"], r["chip"], r["engine"]) for r in rows), frozenset(r["family"] for r in rows))


def load_speed_model(user_rows: Sequence[CalibratedRow] = ()) -> SpeedModel:
    """The packaged constants, corrected by the user's own measurements."""
    plain = SpeedModel(table_of(packaged_constants()), packaged_bands(), _packaged_known())
    if not user_rows:
        return plain
    predicted = plain.predict([row.point for row in user_rows])
    corrections = Corrections.of(user_rows, {m: v.tolist() for m, v in predicted.items()})
    return replace(plain, corrections=corrections, _rates={})
