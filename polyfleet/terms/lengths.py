"""How long prompts or answers are: a distribution of token counts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LengthsKind = Literal["fixed", "lognormal", "uniform", "empirical"]

_FORMS = "write a number (210), lognormal(median, geometric sd) as in lognormal(1100, 2.1), or uniform(10, 500)"
_MOST_TOKENS = 1e8


@dataclass(frozen=True, slots=True)
class Lengths:
    """Token counts of the requests of a workload. Make one with `parse_lengths` or a constructor below.

    `fixed`: values = (tokens,). `uniform`: (low, high), all between equally likely.
    `lognormal`: (median, geometric standard deviation): the logarithm is normal around ln(median) with standard
    deviation ln(geometric sd), so that two thirds of the lengths lie between median / sd and median x sd and the mean
    is median x exp(ln(sd)^2 / 2). `empirical`: the lengths themselves, all equally likely, ascending.
    """

    kind: LengthsKind
    values: tuple[float, ...]

    @staticmethod
    def fixed(tokens: float) -> Lengths:
        """Every request alike. Raises ValueError below 1 token."""
        return Lengths("fixed", (_tokens(tokens),))

    @staticmethod
    def lognormal(median: float, geometric_sd: float) -> Lengths:
        """Raises ValueError unless median >= 1 and 1 < geometric_sd <= 10."""
        if not (1 < geometric_sd <= 10):
            raise ValueError(
                f"the second number of lognormal is the geometric standard deviation, above 1 and at most 10, not "
                f"{geometric_sd:g}; 2 means two thirds lie between half and twice the median"
            )
        return Lengths("lognormal", (_tokens(median), float(geometric_sd)))

    @staticmethod
    def uniform(low: float, high: float) -> Lengths:
        """Raises ValueError unless 1 <= low < high."""
        if not low < high:
            raise ValueError(f"uniform needs a low end below its high end, not ({low:g}, {high:g})")
        return Lengths("uniform", (_tokens(low), _tokens(high)))

    @staticmethod
    def empirical(tokens: Ints | Floats) -> Lengths:
        """The lengths of a trace. Raises ValueError when there are none or one is below 1."""
        found = np.sort(np.asarray(tokens, dtype=np.float64))
        if not len(found):
            raise ValueError("an empirical distribution needs at least one length")
        _tokens(float(found[0]))
        _tokens(float(found[-1]))
        return Lengths("empirical", tuple(found.tolist()))

    @property
    def mean(self) -> float:
        """Mean tokens."""
        return float(self.partial_moments(np.array([0.0, math.inf]))[1][0])

    def partial_moments(self, edges: Floats) -> tuple[Floats, Floats, Floats]:
        """Probability, and first and second moment (not divided by it), of each interval [edges[i], edges[i+1]).

        edges (n + 1,) ascending, in tokens; returns three (n,) arrays. Closed forms: for the lognormal,
        E[X^k; X < x] = exp(k mu + k^2 s^2 / 2) Phi((ln x - mu) / s - k s) (Crow and Shimizu, Lognormal Distributions,
        1988). Lengths are taken as continuous: rounding to whole tokens is left out.
        """
        below = np.stack([self._moments_below(float(e)) for e in edges])
        return below[1:, 0] - below[:-1, 0], below[1:, 1] - below[:-1, 1], below[1:, 2] - below[:-1, 2]

    def _moments_below(self, x: float) -> Floats:
        if self.kind == "lognormal":
            mu, s = math.log(self.values[0]), math.log(self.values[1])
            z = -math.inf if x <= 0 else math.inf if math.isinf(x) else (math.log(x) - mu) / s
            return np.array([math.exp(k * mu + k * k * s * s / 2) * _phi(z - k * s) for k in (0, 1, 2)])
        if self.kind == "uniform":
            low, high = self.values
            top = min(max(x, low), high)
            return np.array([(top ** (k + 1) - low ** (k + 1)) / (k + 1) / (high - low) for k in (0, 1, 2)])
        values = np.asarray(self.values)
        part = values[: int(np.searchsorted(values, x, side="left"))]
        return np.array([len(part), part.sum(), (part * part).sum()]) / len(values)

    def sample(self, rng: np.random.Generator, count: int) -> Ints:
        """(count,) whole lengths of at least 1 token, rounded to the nearest."""
        if self.kind == "lognormal":
            drawn = self.values[0] * np.exp(math.log(self.values[1]) * rng.standard_normal(count))
        elif self.kind == "uniform":
            drawn = rng.uniform(self.values[0], self.values[1], size=count)
        else:
            drawn = np.asarray(self.values)[rng.integers(len(self.values), size=count)]
        return np.clip(np.rint(drawn), 1, _MOST_TOKENS).astype(np.int64)

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"{self.values[0]:g}"
        shown = f"{len(self.values)} lengths" if self.kind == "empirical" else ", ".join(f"{v:g}" for v in self.values)
        return f"{self.kind}({shown})"


def parse_lengths(text: str | float) -> Lengths:
    """A distribution as people write it: `210`, `1.5k`, `lognormal(1100, 2.1)`, `uniform(10, 500)`.

    Raises ValueError with what would be right.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"{text!r} is no length in tokens; {_FORMS}")
    if not isinstance(text, str):
        return Lengths.fixed(float(text))
    found = re.fullmatch(r"\s*([a-z]+)\s*\(([^()]*)\)\s*", text, flags=re.IGNORECASE)
    if not found:
        return Lengths.fixed(_number(text, text))
    name, values = found[1].lower(), [_number(v, text) for v in found[2].split(",")]
    if name not in ("lognormal", "uniform", "fixed"):
        raise ValueError(f"unknown distribution {found[1]!r}; {_FORMS}")
    wanted = 1 if name == "fixed" else 2
    if len(values) != wanted:
        raise ValueError(f"{name} takes {wanted} number{'s' * (wanted > 1)}, not {len(values)}; {_FORMS}")
    if name == "fixed":
        return Lengths.fixed(values[0])
    return Lengths.lognormal(*values) if name == "lognormal" else Lengths.uniform(*values)


def _number(text: str, whole: str) -> float:
    found = re.fullmatch(
        r"\s*([0-9]+(?:_[0-9]+)*\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+)\s*([km]?)\s*", text, re.IGNORECASE
    )
    if not found:
        raise ValueError(f"{whole!r} is no length in tokens; {_FORMS}")
    return float(found[1]) * {"": 1.0, "k": 1e3, "m": 1e6}[found[2].lower()]


def _tokens(value: float) -> float:
    if not (1 <= value <= _MOST_TOKENS):
        raise ValueError(f"a length must be between 1 and 100 million tokens, not {value:g}; {_FORMS}")
    return float(value)


def _phi(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))
