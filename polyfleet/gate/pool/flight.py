"""One attempt of one request on one route, from its start to its end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING

from polyfleet.gate.pool.ask import Ask, Outcome
from polyfleet.gate.pool.lane import Lane
from polyfleet.gate.seen.families import GAP_BOUNDS_S

if TYPE_CHECKING:
    from polyfleet.gate.pool.pool import Pool


class Flight:
    """Tell it what passes: `first_byte()` once, `tokens(n)` per piece of the answer, `done(...)` exactly once.

    `done` may be said again and then does nothing, so that it can stand in a `finally`.
    """

    __slots__ = (
        "_clock",
        "_last",
        "_left",
        "_longest",
        "_open",
        "_pool",
        "ask",
        "began_at",
        "first_s",
        "lane",
        "model",
        "output_tokens",
    )

    def __init__(self, pool: Pool, lane: Lane, ask: Ask, model: str, cost: float, clock: Callable[[], float]) -> None:
        self._pool, self._clock = pool, clock
        self.lane, self.ask, self.model = lane, ask, model
        self._left = cost
        self._longest = 0.0
        self._open = True
        self.first_s: float | None = None
        self.output_tokens = 0
        self.began_at = self._last = clock()
        lane.work += cost
        lane.flights += 1

    def first_byte(self) -> None:
        """The first byte of an answer came."""
        if self.first_s is not None:
            return
        now = self._clock()
        self.first_s = now - self.began_at
        self._last = self.lane.last_byte_at = now
        self.lane.meter.first.observe(self.first_s)

    def heard(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of an answer came: it may tell what its host allows still."""
        self._pool.holds.heard(self.lane, status, headers)

    def tokens(self, n: int = 1) -> None:
        """`n` more tokens passed on at once (0 for bytes that are none: a keep-alive)."""
        lane, now = self.lane, self._clock()
        gap = now - self._last
        self._last = lane.last_byte_at = now
        if gap > self._longest:  # noqa: PLR1730 - a call to max() costs more, at each event of each stream
            self._longest = gap
        if n > 0:
            self.output_tokens += n
            histogram = lane.meter.gap
            histogram.counts[bisect_left(GAP_BOUNDS_S, gap)] += 1
            histogram.total += gap
            left = self._left - n
            if left >= 0.0:
                self._left = left
                lane.work -= n

    @property
    def silent_s(self) -> float:
        """Seconds since the last byte, or since the start."""
        return self._clock() - self._last

    @property
    def stall_after_s(self) -> float:
        """How long it may be silent now: `silent_s` above this is a stall where `Pool.stalled` agrees."""
        if self.first_s is None:
            return self.lane.first_limit_s(self.ask.input_tokens)
        return self.lane.gap_limit_s()

    def done(self, outcome: Outcome, output_tokens: int | None = None) -> None:
        """It ended. `output_tokens` as the engine counted them, None: what `tokens` added up to."""
        if not self._open:
            return
        self._open = False
        lane = self.lane
        lane.work -= self._left
        lane.flights -= 1
        if lane.flights == 0:
            lane.work = 0.0
        if output_tokens is not None:
            self.output_tokens = output_tokens
        self._pool.ended(self, outcome, self._clock(), self._longest)
