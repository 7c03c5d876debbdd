"""When a refused client may come back, so that it is then let in. Time is handed in."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, field
from math import ceil

_EARLY_S = 0.5
_GRACE_S = 5.0


@dataclass(slots=True)
class _Held:
    """The promises to one key. `work` due by second."""

    last: float = 0.0
    count: int = 0
    work: dict[int, float] = field(default_factory=dict)


class Promises:
    """Books the time after the queue for those who were refused, each key at its part of the throughput.

    Who comes back when told has a place: newcomers count it as work that waits before them. A client is known again by
    its key and the `mark` of its request. Places of those who do not come are given up, and the share of those who come
    is learnt, so that clients who never come cost little.
    """

    def __init__(self, most: int = 20_000, horizon_s: float = 60.0) -> None:
        """`most` promises are held at a time, none further away than `horizon_s`."""
        self._most, self._horizon_s = most, horizon_s
        self._keys: dict[str, _Held] = {}
        self._marks: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self._seconds: dict[int, list[tuple[str, int]]] = defaultdict(list)
        self._work: dict[int, float] = {}
        self._held = 0
        self._swept = 0
        self._come = 1.0
        self.kept = self.missed = 0

    @property
    def keys(self) -> int:
        """How many keys hold promises."""
        return len(self._keys)

    def book(self, key: str, mark: int, cost: float, after_s: float, rate: float, now: float) -> float:
        """Whole seconds after which a request of `cost` tokens is let in, at least `after_s` from now.

        `rate` tokens per second are served. Beyond the horizon nothing is promised, and the horizon is told.
        """
        self._sweep(now)
        held = self._keys.get(key)
        keys = len(self._keys) + (held is None)
        start = max(now + after_s, held.last if held else 0.0) + cost * keys / rate if rate > 0 else float("inf")
        if start - now > self._horizon_s or self._held >= self._most:
            return self._horizon_s
        told = max(1.0, float(ceil(start - now)))
        if held is None:
            held = self._keys[key] = _Held()
        held.last = start
        held.count += 1
        self._held += 1
        due = now + told
        # a later promise may be due earlier: told times are rounded up to whole seconds from different moments
        insort(self._marks.setdefault((key, mark), []), (due, cost))
        self._seconds[int(due)].append((key, mark))
        _add(held.work, int(due), cost)
        _add(self._work, int(due), cost)
        return told

    def redeem(self, key: str, mark: int, now: float) -> bool:
        """Whether this request was told to come back now; uses that promise up."""
        self._sweep(now)
        mine = self._marks.get((key, mark))
        if not mine or mine[0][0] - _EARLY_S > now:
            return False
        self._forget(key, mark)
        self.kept += 1
        self._come += (1.0 - self._come) / 64.0
        return True

    def due_work(self, now: float, within_s: float, key: str | None = None) -> float:
        """Tokens of those who are expected to come back until `within_s` from now; of one key, or of all."""
        if not self._held:
            return 0.0
        held = self._keys.get(key) if key is not None else None
        work = self._work if key is None else held.work if held else {}
        seconds = range(int(now - _GRACE_S), int(now + within_s) + 1)
        return self._come * sum([work.get(second, 0.0) for second in seconds]) if work else 0.0

    def _forget(self, key: str, mark: int) -> None:
        mine, held = self._marks[key, mark], self._keys[key]
        due, cost = mine.pop(0)
        if not mine:
            del self._marks[key, mark]
        _add(held.work, int(due), -cost)
        _add(self._work, int(due), -cost)
        self._held -= 1
        held.count -= 1
        if held.count == 0:
            del self._keys[key]

    def _sweep(self, now: float) -> None:
        """Give up what is overdue; once a second."""
        if int(now) == self._swept:
            return
        self._swept = int(now)
        for second in sorted(second for second in self._seconds if second + 1 + _GRACE_S < now):
            for key, mark in self._seconds.pop(second):
                mine = self._marks.get((key, mark))
                if mine and mine[0][0] < second + 1:
                    self._forget(key, mark)
                    self.missed += 1
                    self._come -= self._come / 64.0


def _add(work: dict[int, float], second: int, cost: float) -> None:
    left = work.get(second, 0.0) + cost
    if left > 1e-6:
        work[second] = left
    else:
        work.pop(second, None)
