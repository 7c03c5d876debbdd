"""How demand moves over the day and the week: factors of the mean rate, mean 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from polyfleet.terms.demand import Floats, Ints, Window
from polyfleet.traffic.clock import hour_of_week, windows


@dataclass(frozen=True, slots=True)
class Shape:
    """`factors` by hour of the week (168, Monday 00:00 UTC first), hour of the day (24), or one; their mean is 1."""

    name: str
    factors: tuple[float, ...]

    @property
    def windows(self) -> tuple[Window, ...]:
        return windows(len(self.factors))

    def at(self, second: Ints) -> Floats:
        """(n,) factor at seconds since 1970, UTC."""
        return np.asarray(self.factors)[hour_of_week(second, dated=True) % len(self.factors)]


def _daily() -> tuple[float, ...]:
    return tuple(1 + 0.6 * math.cos((hour - 15) / 24 * 2 * math.pi) for hour in range(24))


def _weekday() -> tuple[float, ...]:
    night, workday = [1.0] * 7, [2.0, 5.0, 8.0, 8.0, 8.0, 7.0, 8.0, 8.0, 8.0, 7.0, 5.0, 3.0, 2.0, 2.0, 1.5, 1.0, 1.0]
    week = np.array([*(night + workday) * 5, *[1.0] * 48])
    return tuple((week / week.mean()).tolist())


SHAPES = {
    "flat": Shape("flat", (1.0,)),
    "daily": Shape("daily", _daily()),
    "weekday": Shape("weekday", _weekday()),
}
"""Assumptions, not measurements. `daily`: people of one time zone every day alike, a cosine between 0.4 at 03:00 and
1.6 at 15:00. `weekday`: an office's week, eight times the night's rate in the core hours from Monday to Friday."""


def shape_named(name: str) -> Shape:
    """Raises ValueError with the known names."""
    if name in SHAPES:
        return SHAPES[name]
    near = get_close_matches(name, SHAPES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"unknown shape {name!r}, known are {', '.join(sorted(SHAPES))}{hint}")
