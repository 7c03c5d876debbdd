"""The two plain policies, to compare with."""

from __future__ import annotations

from collections.abc import Sequence


def least_work(work: Sequence[float], speeds: Sequence[float], cost: float, allowed: Sequence[int]) -> int:
    """The allowed one that would be done first: least (work in flight + this request) per speed; -1 for none.

    `work` and `cost` in tokens, `speeds` relative and above 0. The first of equals wins.
    """
    best, least = -1, float("inf")
    for i in allowed:
        ends = (work[i] + cost) / speeds[i]
        if ends < least:
            best, least = i, ends
    return best


class RoundRobin:
    """Each in turn, whatever its load."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, allowed: Sequence[int]) -> int:
        """The next of the allowed ones in order of index; -1 for none."""
        if not allowed:
            return -1
        chosen = min((i for i in allowed if i >= self._next), default=min(allowed))
        self._next = chosen + 1
        return chosen
