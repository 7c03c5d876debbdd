"""The plan's shares, corrected by what is in flight."""

from __future__ import annotations

from collections.abc import Sequence

_APART = 2.0
"""How many of the largest recent requests a clock may lag behind its share, or run ahead of it."""


class Shares:
    """Weighted fair queueing over routes: each has a clock that runs on by (cost / share) for each request it takes.

    The least clock is next, so that over time each takes its share of the tokens, also at low load, where nothing is in
    flight. What is in flight (tokens per speed) counts on top. How far a clock may lag or lead is bounded, so that a
    route slower than planned gets less than its share for as long as its work piles up, and one that returns is not
    flooded. Clocks are in tokens of the whole pool: virtual time as in Demers, Keshav and Shenker, 1989.
    """

    def __init__(self, count: int, starts: Sequence[float] | None = None) -> None:
        """`starts`, below one token, decide who is first where nothing else does: several gates then start apart."""
        self.clocks = list(starts) if starts is not None else [0.0] * count
        self._now = 0.0
        self._size = 0.0

    def choose(
        self,
        shares: Sequence[float],
        work: Sequence[float],
        speeds: Sequence[float],
        cost: float,
        allowed: Sequence[int],
    ) -> int:
        """Index of the next; -1 for none. `shares` and `speeds` need not sum to 1; shares above 0 where allowed."""
        share_sum = speed_sum = 0.0
        for i in allowed:
            share_sum += shares[i]
            speed_sum += speeds[i]
        clocks, now = self.clocks, self._now
        size = _APART * (cost if cost > self._size else self._size)
        best, least = -1, float("inf")
        for i in allowed:
            part = share_sum / shares[i]
            lead = clocks[i] - now
            bound = size * part
            if lead < -bound:
                lead = -bound
            elif lead > bound:
                lead = bound
            score = lead + cost * part + work[i] * speed_sum / speeds[i]
            if score < least:
                best, least = i, score
        return best

    def took(self, chosen: int, shares: Sequence[float], cost: float, allowed: Sequence[int]) -> None:
        """Move the clocks on for a request that `chosen` takes, whoever chose it."""
        share_sum = sum([shares[i] for i in allowed])
        if share_sum <= 0 or shares[chosen] <= 0:
            return
        part = share_sum / shares[chosen]
        self._size = max(cost, 0.99 * self._size)
        bound = _APART * self._size * part
        lead = self.clocks[chosen] - self._now
        self.clocks[chosen] = self._now + min(bound, max(-bound, lead)) + cost * part
        self._now += cost
