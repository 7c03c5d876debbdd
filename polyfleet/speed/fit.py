"""Fitting the constants to measured rows: few shared ones, shrunken offsets, harness differences taken out.

Everything is in natural logarithms. A constant is `all` plus offsets by scope; an offset is held towards 0 by a prior
(ridge), the harder the narrower its scope. Rows are weighted so that a chip x model x harness cell of n rows counts as
about n^0.3: rows of one big sweep do not bend every other chip.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from polyfleet.speed.constants import MULTIPLIERS, Constant, bounded, scopes_of
from polyfleet.speed.point import Point
from polyfleet.speed.predict import METRICS, Batch, Indices, predict
from polyfleet.speed.rates import Rates
from polyfleet.speed.shape import Floats

NOISE = {"throughput": 0.15, "ttft": 0.3, "tpot": 0.15}  # spread in ln that a perfect model would leave
TAIL = 0.20  # beyond this error in ln a row pulls less, not more
CELL_SHARE = 0.35  # a cell of n rows counts as n^(1 - 2 x this) rows
HARNESS_SPREAD = {"throughput": 0.1, "ttft": 0.4, "tpot": 0.1}  # prior spread in ln between harnesses


@dataclass(frozen=True, slots=True)
class Free:
    """A constant to fit: start value (a factor of 1 for offsets), prior spread in ln, and the scope key it splits by
    (`all` = shared)."""

    name: str
    by: str
    start: float
    spread: float


SHARED = (
    Free("memory_eff", "all", 0.80, 0.15),
    Free("expert_memory_eff", "all", 0.85, 0.12),
    Free("attention_eff", "all", 0.60, 0.4),
    Free("compute_eff", "all", 0.60, 0.3),
    Free("expert_compute_eff", "all", 0.70, 0.3),
    Free("prefill_eff", "all", 0.65, 0.3),
    Free("attention_compute_eff", "all", 0.35, 0.5),
    Free("link_eff", "all", 0.70, 0.2),
    Free("step_s", "all", 1e-3, 1.0),
    Free("layer_s", "all", 2e-5, 1.0),
    Free("moe_layer_s", "all", 2e-5, 1.0),
    Free("mixed_layer_s", "all", 2e-4, 1.0),
    Free("sequence_s", "all", 1e-5, 1.0),
    Free("link_latency_s", "all", 5e-6, 0.7),
    Free("sharpness", "all", 3.0, 0.4),
    Free("expert_imbalance", "all", 0.5, 0.5),
    Free("expert_skew", "all", 0.7, 0.7),
    # What a request waits for depends on how its TTFT is taken: medians of traffic that has settled, means that hold
    # the first burst, means of runs in which all requests stay in step.
    Free("first_token_s", "crowd=median", 0.025, 0.4),
    Free("prefill_share", "crowd=median", 1.0, 0.5),
    Free("step_share", "crowd=median", 2.0, 0.4),
    Free("burst_share", "crowd=median", 0.01, 0.7),
    Free("chunk_share", "crowd=median", 0.9, 0.1),
    Free("first_token_s", "crowd=mean", 0.035, 0.5),
    Free("prefill_share", "crowd=mean", 2.0, 0.5),
    Free("step_share", "crowd=mean", 2.0, 0.5),
    Free("burst_share", "crowd=mean", 0.06, 0.7),
    Free("chunk_share", "crowd=mean", 0.9, 0.1),
    Free("first_token_s", "crowd=in-step", 0.035, 0.5),
    Free("prefill_share", "crowd=in-step", 1.0, 0.5),
    Free("step_share", "crowd=in-step", 2.0, 0.5),
    Free("burst_share", "crowd=in-step", 0.4, 0.7),
    Free("chunk_share", "crowd=in-step", 0.6, 0.2),
)
OFFSETS = (
    Free("compute", "format", 1.0, 0.3),
    Free("memory_eff", "format", 1.0, 0.07),
    Free("compute", "vendor", 1.0, 0.4),
    Free("compute", "family", 1.0, 0.3),
    Free("memory_eff", "vendor", 1.0, 0.12),
    Free("memory_eff", "family", 1.0, 0.08),
    Free("compute", "family&format", 1.0, 0.15),
    Free("memory_eff", "family&format", 1.0, 0.1),
    Free("expert_memory_eff", "vendor", 1.0, 0.4),
    Free("expert_memory_eff", "family", 1.0, 0.2),
    Free("sequence_s", "vendor", 1.0, 0.7),
    Free("moe_layer_s", "vendor", 1.0, 1.0),
    Free("attention_eff", "vendor", 1.0, 0.4),
    Free("attention_eff", "family", 1.0, 0.3),
    Free("overhead", "vendor", 1.0, 0.6),
    Free("overhead", "family", 1.0, 0.5),
    Free("overhead", "engine", 1.0, 0.3),
    Free("overhead", "vendor&era", 1.0, 0.5),
    Free("first_token_s", "vendor&era", 1.0, 0.3),
    Free("compute", "vendor&era", 1.0, 0.25),
    Free("memory_eff", "vendor&era", 1.0, 0.15),
    Free("sequence_s", "vendor&era", 1.0, 0.5),
    Free("sequence_s", "family", 1.0, 0.3),
    Free("link_latency_s", "link", 1.0, 0.7),
    Free("link_latency_s", "vendor", 1.0, 0.5),
    Free("link_eff", "link", 1.0, 0.5),
    Free("link_eff", "vendor", 1.0, 0.3),
    Free("first_token_s", "vendor", 1.0, 0.3),
    Free("first_token_s", "engine", 1.0, 0.3),
    Free("burst_share", "engine", 1.0, 0.4),
    Free("prefill_share", "engine", 1.0, 0.2),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A point and what was measured there: values by metric (tokens/s, ms, ms)."""

    point: Point
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted constants and what each harness adds, in ln, by (metric, harness)."""

    constants: tuple[Constant, ...]
    harness: Mapping[tuple[str, str], float]


def cell_of(point: Point) -> tuple[str, str, str]:
    """Chip, model and harness: the group within which rows repeat each other."""
    return point.keys["chip"], point.keys["model"], point.keys.get("harness", "")


def fit(measured: Sequence[Measured], start: Mapping[tuple[str, str], float] | None = None, steps: int = 30) -> Fit:
    """Fit all constants. `start` holds ln values by (name, scope) to begin from."""
    problem = _Problem.of(measured)
    begin = np.array([(start or {}).get(key, 0.0) for key in problem.names])
    begin = np.concatenate([begin - problem.centre, np.zeros(len(problem.harnesses))]) if start else problem.origin()
    found = _descend(problem, begin, steps)
    logs = problem.centre + found[: len(problem.names)]
    constants = tuple(
        Constant(name, scope, math.exp(value), problem.rows[name, scope])
        for (name, scope), value in zip(problem.names, logs, strict=True)
    )
    return Fit(constants, dict(zip(problem.harnesses, found[len(problem.names) :], strict=True)))


def _descend(problem: _Problem, x: Floats, steps: int) -> Floats:
    """Levenberg-Marquardt; the prior keeps the normal equations well posed. Stops when a step gains under 1e-4."""
    damping, residuals = 1e-2, problem.residuals(x)
    for _ in range(steps):
        slopes = problem.jacobian(x)
        normal, downhill = slopes.T @ slopes, slopes.T @ residuals
        before = float(residuals @ residuals)
        for _ in range(8):
            moved = x - np.linalg.solve(normal + damping * np.diag(np.diag(normal)), downhill)
            tried = problem.residuals(moved)
            if float(tried @ tried) < before:
                break
            damping *= 4
        else:
            return x
        x, residuals, damping = moved, tried, damping / 5
        if before - float(residuals @ residuals) < 1e-4 * before:
            break
    return x


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Arrays of the fit. Unknowns: deviations of each constant from its start, then harness offsets."""

    batch: Batch
    names: tuple[tuple[str, str], ...]
    centre: Floats
    spread: Floats
    rows: Mapping[tuple[str, str], int]
    design: Mapping[str, tuple[Indices, Floats]]
    harnesses: tuple[tuple[str, str], ...]
    row_of: Indices
    metric_of: tuple[str, ...]
    target: Floats
    weight: Floats
    harness_of: Indices

    @classmethod
    def of(cls, measured: Sequence[Measured]) -> _Problem:
        points = [m.point for m in measured]
        scopes = [scopes_of(p.keys) for p in points]
        seen = Counter(scope for point in scopes for scope in point)
        free = [(f, scope) for f in (*SHARED, *OFFSETS) for scope in sorted(seen) if f.by in (scope, scope_kind(scope))]
        names = tuple((f.name, scope) for f, scope in free)
        flat = [(i, metric, math.log(v)) for i, m in enumerate(measured) for metric, v in m.values.items()]
        harness_keys = [(metric, points[i].keys.get("harness", "")) for i, metric, _ in flat]
        harnesses = tuple(sorted(set(harness_keys)))
        place = {key: n for n, key in enumerate(harnesses)}
        cells = Counter((metric, *cell_of(points[i])) for i, metric, _ in flat)
        return cls(
            Batch.of(points), names, np.array([math.log(f.start) for f, _ in free]),
            np.array([f.spread for f, _ in free]), {name: seen[name[1]] for name in names},
            _design(names, scopes), harnesses, np.array([i for i, _, _ in flat]), tuple(m for _, m, _ in flat),
            np.array([t for _, _, t in flat]),
            np.array([cells[(metric, *cell_of(points[i]))] ** -CELL_SHARE / NOISE[metric] for i, metric, _ in flat]),
            np.array([place[key] for key in harness_keys]),
        )  # fmt: skip

    @property
    def harness_spread(self) -> Floats:
        return np.array([HARNESS_SPREAD[metric] for metric, _ in self.harnesses])

    def origin(self) -> Floats:
        return np.zeros(len(self.names) + len(self.harnesses))

    def rates(self, x: Floats) -> Rates:
        logs = self.centre + x[: len(self.names)]
        return Rates(**{name: bounded(name, matrix @ logs[columns]) for name, (columns, matrix) in self.design.items()})

    def predicted(self, rates: Rates) -> Floats:
        found = predict(self.batch, rates)
        table = np.log(np.stack([found[m] for m in METRICS]))
        return np.asarray(table[[METRICS.index(m) for m in self.metric_of], self.row_of])

    def _errors(self, x: Floats) -> Floats:
        return np.asarray(self.predicted(self.rates(x)) + x[len(self.names) :][self.harness_of] - self.target)

    def residuals(self, x: Floats) -> Floats:
        bent, _ = _soften(self._errors(x))
        prior = x / np.concatenate([self.spread, self.harness_spread])
        return np.concatenate([bent * self.weight, prior])

    def jacobian(self, x: Floats) -> Floats:
        """By the chain rule through the rates: a point's prediction depends on its own rates only."""
        rates, step = self.rates(x), 1e-4
        base = self.predicted(rates)
        slopes = np.zeros((len(self.target), len(x)))
        for f in fields(Rates):
            higher = bounded(f.name, np.log(getattr(rates, f.name)) + step)
            moved = replace(rates, **{f.name: higher})
            change = (self.predicted(moved) - base) / step
            columns, matrix = self.design[f.name]
            slopes[:, columns] += change[:, None] * matrix[self.row_of]
        slopes[np.arange(len(self.target)), len(self.names) + self.harness_of] = 1.0
        _, bend = _soften(base + x[len(self.names) :][self.harness_of] - self.target)
        scaled = slopes * (bend * self.weight)[:, None]
        prior = np.diag(1 / np.concatenate([self.spread, self.harness_spread]))
        return np.vstack([scaled, prior])


def scope_kind(scope: str) -> str:
    """`family=ada&format=fp8` -> `family&format`; `all` -> `all`."""
    return "&".join(part.split("=")[0] for part in scope.split("&"))


def _design(names: Sequence[tuple[str, str]], scopes: Sequence[Sequence[str]]) -> dict[str, tuple[Indices, Floats]]:
    """For each field of Rates: which unknowns it depends on, and the matrix (points, those) that adds up its ln."""
    carried: dict[str, set[str]] = defaultdict(set)
    for multiplier, targets in MULTIPLIERS.items():
        for target in targets:
            carried[target].add(multiplier)
    place = {scope: n for n, scope in enumerate(sorted({scope for _, scope in names}))}
    member = np.zeros((len(scopes), len(place)))
    for i, point in enumerate(scopes):
        member[i, [place[scope] for scope in point if scope in place]] = 1.0
    design = {}
    for f in fields(Rates):
        columns = [i for i, (name, _) in enumerate(names) if name == f.name or name in carried[f.name]]
        design[f.name] = (np.array(columns), member[:, [place[names[i][1]] for i in columns]])
    return design


def _soften(error: Floats) -> tuple[Floats, Floats]:
    """Residuals whose square grows only as a logarithm beyond TAIL (Cauchy), and their slope: a run that differs by a
    factor in something the model does not know must not bend the others."""
    bent = 1 + (error / TAIL) ** 2
    cost = np.sqrt(np.maximum(TAIL**2 * np.log(bent), 1e-18))
    return np.sign(error) * cost, np.abs(error) / bent / cost
