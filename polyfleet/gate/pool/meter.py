"""Cheap measures for the hot path: histograms, moving means, recent peaks."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from statistics import median


class Histogram:
    """Counts by upper bound, as Prometheus has them: `counts[i]` of values <= `bounds[i]`, the last above all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Counter:
    """Only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Mean:
    """A mean that forgets: of all values up to `memory` of them, then exponentially."""

    __slots__ = ("count", "memory", "value")

    def __init__(self, memory: int = 64) -> None:
        self.memory = memory
        self.count = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) / min(self.count, self.memory)


class Recent:
    """The last few values, for their median: one that lies far off moves nothing."""

    __slots__ = ("values",)

    def __init__(self, memory: int) -> None:
        self.values: deque[float] = deque(maxlen=memory)

    def median(self) -> float:
        """Of at least one value."""
        return median(self.values)


class Peak:
    """The largest recent value: up at once, down by a twentieth of the way at each lower one."""

    __slots__ = ("count", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.value = value if value > self.value else self.value + (value - self.value) * 0.05
