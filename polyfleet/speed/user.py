"""The user's own measurements: what they say about the builds they were taken on, and, shrunk, about neighbours."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polyfleet.speed.point import Point

EXACT_HALF_ROWS = 0.25  # rows at which an exact build's own offset counts half: one row counts four fifths
_CHIP_ENGINE_SHARE = 0.5  # of the offset of other models on the same chip and engine
_FAMILY_SHARE = 0.25  # of the offset of anything else on the chip's family


@dataclass(frozen=True, slots=True)
class CalibratedRow:
    """One measurement: the point it was taken at, its values by metric (`throughput` tokens/s over all replicas,
    `ttft` and `tpot` ms), and where it comes from."""

    point: Point
    values: Mapping[str, float]
    source: str = ""


Offsets = Mapping[tuple[str, ...], tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Corrections:
    """Mean ln(measured / predicted) and number of rows, by metric and scope."""

    offsets: Offsets = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[CalibratedRow], predicted: Mapping[str, Sequence[float]]) -> Corrections:
        """From rows and what the model without them predicts (arrays over the rows, by metric)."""
        found: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for i, row in enumerate(rows):
            for metric, value in _filled(row.values, {m: predicted[m][i] for m in predicted}).items():
                for scope in _scopes(row.point.keys):
                    found[(metric, *scope)].append(value)
        return cls({key: (sum(v) / len(v), len(v)) for key, v in found.items()})

    def ln_factor(self, metric: str, keys: Mapping[str, str]) -> float:
        """What to add to the logarithm of a prediction."""
        exact, engine, family = ((metric, *scope) for scope in _scopes(keys))
        near = self._part(family, _FAMILY_SHARE)
        near += (self._part(engine, 1.0) - near) * _CHIP_ENGINE_SHARE if engine in self.offsets else 0.0
        if exact not in self.offsets:
            return near
        value, count = self.offsets[exact]
        return near + (value - near) * count / (count + EXACT_HALF_ROWS)

    def measured(self, keys: Mapping[str, str]) -> bool:
        """Whether this very model, chip, engine and precision was measured."""
        exact = _scopes(keys)[0]
        return any((metric, *exact) in self.offsets for metric in ("throughput", "ttft", "tpot"))

    def _part(self, key: tuple[str, ...], share: float) -> float:
        return self.offsets[key][0] * share if key in self.offsets else 0.0


def _scopes(keys: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    exact = (keys["model"], keys["chip"], keys["engine"], keys["precision"])
    return exact, (keys["chip"], keys["engine"]), (keys["family"],)


def _filled(values: Mapping[str, float], predicted: Mapping[str, float]) -> dict[str, float]:
    """ln(measured / predicted); a slow step shows in throughput and in TPOT alike, so either stands for the other."""
    logs = {m: math.log(v / predicted[m]) for m, v in values.items() if v > 0 and predicted[m] > 0}
    if "tpot" in logs:
        logs.setdefault("throughput", -logs["tpot"])
    elif "throughput" in logs:
        logs["tpot"] = -logs["throughput"]
    return logs
