"""One route as the pool has it: what is in flight there, how fast it is, how it stands."""

from __future__ import annotations

from polyfleet.gate.pool.health import Health
from polyfleet.gate.pool.meter import Peak, Recent
from polyfleet.gate.pool.quota import Held, Quota
from polyfleet.gate.seen.metrics import RouteMeter
from polyfleet.terms.route import Route

_STALL_TIMES = 5.0
_GAP_LEAST_S, _GAP_MOST_S, _GAP_UNKNOWN_S = 2.0, 60.0, 30.0
_FIRST_LEAST_S, _FIRST_MOST_S, _FIRST_UNKNOWN_S = 5.0, 300.0, 60.0
_ENOUGH = 4
_MEMORY = 9
"""Streams over which a route's speed is the median."""

_BASE_INPUT = 512.0
"""Tokens of input that the time to first token is taken to cover before it grows with the input."""


class Lane:
    """Mutable; `work` tokens and `flights` requests in flight, `limit` on flights, times as measured here.

    `limit` is the route's slots; it gives way when the route says that it is full and grows back with each answer.
    `held`: it takes nothing, not even where nobody else is left; `quota` what its host allows still.
    """

    __slots__ = (
        "compare_at",
        "first",
        "first_peak",
        "flights",
        "gap",
        "gap_peak",
        "health",
        "held",
        "last_byte_at",
        "limit",
        "meter",
        "quota",
        "route",
        "slots",
        "slow_times",
        "work",
    )

    def __init__(self, route: Route, health: Health, slots: float, meter: RouteMeter) -> None:
        self.route, self.health, self.meter = route, health, meter
        self.slots = self.limit = slots
        self.work, self.flights = 0.0, 0
        self.held: Held | None = None
        self.quota = Quota()
        self.forget_speed()
        self.first_peak, self.gap_peak = Peak(), Peak()
        self.last_byte_at = self.compare_at = float("-inf")

    @property
    def routable(self) -> bool:
        """Whether it may take anything new at all, well or not."""
        return self.route.state == "open" and self.route.verdict != "fail"

    def forget_speed(self) -> None:
        """Measure anew how fast it is: after it was out for being slow, its past says nothing."""
        self.slow_times = 0
        self.first, self.gap = Recent(_MEMORY), Recent(_MEMORY)

    def was_full(self) -> None:
        """It said so: no more than most of what it had."""
        self.limit = max(1.0, 0.7 * (self.flights + 1))

    def had_room(self) -> None:
        """One more for each round of answers."""
        self.limit = min(self.slots, self.limit + 1.0 / self.limit)

    def gap_limit_s(self) -> float:
        """Silence within an answer after which it counts as stalled: five times the longest lately."""
        if self.gap_peak.count < _ENOUGH:
            return _GAP_UNKNOWN_S
        return min(_GAP_MOST_S, max(_GAP_LEAST_S, _STALL_TIMES * self.gap_peak.value))

    def first_limit_s(self, input_tokens: float = 0.0) -> float:
        """The same before the first byte; longer for a longer prompt."""
        if self.first_peak.count < _ENOUGH:
            return _FIRST_UNKNOWN_S
        longer = 1.0 + input_tokens / _BASE_INPUT
        return min(_FIRST_MOST_S, max(_FIRST_LEAST_S, _STALL_TIMES * self.first_peak.value * longer))
