"""The gate's policy: the plan's shares, kept conversations, canaries, prices and room, in one choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from polyfleet.routing.affinity import Ring, bounded_load, key_hash
from polyfleet.routing.canary import Canary
from polyfleet.routing.fair_share import Shares


@dataclass(slots=True)
class View:
    """What is known of the routes of one model now; lists over these routes.

    `shares[b][i]` what the plan gives route i of bucket b (0: only when the others are full); `speeds` the work that it
    gives it of all buckets, relative, above 0; `canary` (0..1) where a route is under trial, else None; `usd_input`,
    `usd_output` per million tokens. What moves with each request: `work` tokens in flight, `flights`, `limits` on them.
    """

    ids: tuple[str, ...]
    shares: list[list[float]]
    speeds: list[float]
    canary: list[float | None]
    usd_input: list[float]
    usd_output: list[float]
    work: list[float] = field(default_factory=list)
    flights: list[int] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)


class Choice:
    """Chooses for one model and remembers whose turn it is.

    Order of what counts: the canary's share; then room (a full route only where all are full); then the plan's shares,
    where routes with no share are the overflow, cheapest first; then the conversation; then work in flight.
    """

    def __init__(self, view: View, starts: Sequence[float] | None = None) -> None:
        count = len(view.ids)
        self._shares = [Shares(count, starts) for _ in view.shares]
        self._rings: list[Ring | None] = [None for _ in view.shares]
        self._plan = [list(row) for row in view.shares]
        trials = [i for i in range(count) if view.canary[i] is not None]
        self._trial = frozenset(trials)
        self._canaries = [(i, key_hash(view.ids[i]), Canary(float(view.canary[i] or 0.0))) for i in trials]

    def choose(
        self, view: View, bucket: int, tokens: tuple[float, float, float], key: str | None, allowed: list[int]
    ) -> int:
        """Index of the route that takes a request of `tokens` (input, output, work); -1 where `allowed` is empty."""
        hashed = None if key is None else key_hash(key)
        if self._trial:
            chosen, allowed = self._try_canary(view, hashed, allowed)
            if chosen >= 0:
                return chosen
        if len(allowed) < 2:
            return allowed[0] if allowed else -1
        shares = view.shares[bucket]
        flights, limits = view.flights, view.limits
        pool = [i for i in allowed if shares[i] > 0 and flights[i] < limits[i]]
        if not pool:
            pool = [i for i in allowed if shares[i] > 0]
            spill = self._overflow(view, tokens, shares, allowed, full=not pool)
            if spill >= 0:
                return spill
        turns, cost = self._shares[bucket], tokens[2]
        chosen = -1
        if hashed is not None:
            ring = self._ring(view, bucket)  # what is in flight is of all buckets: it is judged by the work of all
            chosen = bounded_load(ring, hashed, view.work, view.speeds, cost, pool, rooms=limits, flights=flights)
        if chosen < 0:
            chosen = turns.choose(shares, view.work, view.speeds, cost, pool)
        turns.took(chosen, shares, cost, pool)
        return chosen

    def _ring(self, view: View, bucket: int) -> Ring:
        """A bucket's own: each route has as many of its conversations as the plan gives it of the bucket. Made when a
        request of the bucket first comes."""
        ring = self._rings[bucket]
        if ring is None:
            plan = self._plan[bucket]
            ring = self._rings[bucket] = Ring(view.ids, plan if any(plan) else view.speeds)
        return ring

    def _try_canary(self, view: View, hashed: int | None, allowed: list[int]) -> tuple[int, list[int]]:
        """The canary whose turn it is, and the others; canaries stay among them only where nobody else is left."""
        for i, salt, canary in self._canaries:
            takes = canary.takes(None if hashed is None else hashed ^ salt)
            if takes and i in allowed and view.flights[i] < view.limits[i]:
                return i, allowed
        others = [i for i in allowed if i not in self._trial]
        return -1, others or allowed

    @staticmethod
    def _overflow(
        view: View, tokens: tuple[float, float, float], shares: list[float], allowed: list[int], full: bool = False
    ) -> int:
        """The cheapest route without a share that has room; with `full`, whether it has or not."""
        best, least = -1, (float("inf"), float("inf"))
        for i in allowed:
            if shares[i] <= 0 and (full or view.flights[i] < view.limits[i]):
                usd = tokens[0] * view.usd_input[i] + tokens[1] * view.usd_output[i]
                rank = (usd, view.work[i] / view.speeds[i])
                if rank < least:
                    best, least = i, rank
        return best
