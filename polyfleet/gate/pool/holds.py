"""Routes that are held back: no key, a key that is refused, a limit that is used up. Others serve meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import time
from typing import NamedTuple

from polyfleet.gate.http.rate_limits import read_told, tells_limits
from polyfleet.gate.pool.lane import Lane
from polyfleet.gate.pool.quota import Held
from polyfleet.gate.pool.upstream_keys import NoKeyError, UpstreamKeys
from polyfleet.gate.seen.metrics import Metrics

_LOG = logging.getLogger("polyfleet.gate")
_KEY = frozenset({401, 403})
FULL = frozenset({429, 503, 529})
"""Statuses of a route that is alive and full; 529 is Anthropic's."""


_WORDS = {
    "no_key": "its key is missing",
    "key_refused": "its key was refused",
    "rate_limited": "its host's limit is used up",
}
"""What clients are told: names of files and variables are for the log."""


class Closed(NamedTuple):
    """All routes of a model are held: what to tell, and the seconds until the first may be back (None: not by time)."""

    status: int
    code: str
    told: str
    after_s: float | None

    def lasts(self, seconds: float) -> bool:
        """Whether it is still so after that time, as far as it can be told."""
        return self.after_s is None or self.after_s > seconds


class Holds:
    """Holds lanes and lets them go; `changed` is told of both. A hold is logged once, when it begins."""

    def __init__(
        self, keys: UpstreamKeys, metrics: Metrics, changed: Callable[[], None], clock: Callable[[], float],
        now: Callable[[], float] = time,
    ) -> None:  # fmt: skip
        self.keys, self._metrics, self._changed, self._clock, self._now = keys, metrics, changed, clock, now

    def heard(self, lane: Lane, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of an answer came."""
        full = status in FULL
        if not full and status not in _KEY and not tells_limits(headers):
            return
        now = self._clock()
        if status in _KEY:
            self._hold(lane, lane.quota.key_refused(status, self._key_of(lane), now))
            return
        told = read_told(headers, self._now())
        seen = (lane.quota.scale, lane.quota.cap)
        held = lane.quota.take_in(told, now, lane.flights)
        if full and lane.held is None:
            said = lane.quota.refused(status, told.retry_after_s, now, backs_off=lane.route.has_key)
            held = max((one for one in (held, said) if one is not None), key=lambda one: one.until, default=None)
        if held is not None:
            self._hold(lane, held)
        elif seen != (lane.quota.scale, lane.quota.cap):
            self._changed()

    def check_keys(self, lanes: Iterable[Lane]) -> None:
        """Hold those whose key is not there; let those go whose key came, or is another than the one refused."""
        for lane in lanes:
            try:
                key = self.keys.of(lane.route)
            except NoKeyError as error:
                self.no_key(lane, error)
                continue
            held = lane.held
            if held is not None and (
                held.reason == "no_key" or (held.reason == "key_refused" and lane.quota.refused_key != hash(key))
            ):
                self._let_go(lane)

    def no_key(self, lane: Lane, error: NoKeyError) -> None:
        """Its key is not there."""
        self._hold(lane, Held("no_key", str(error), float("inf")))

    def tick(self, lanes: Iterable[Lane]) -> None:
        """Let those go whose time is up."""
        now = self._clock()
        for lane in lanes:
            if lane.held is not None and lane.held.until <= now:
                self._let_go(lane)
            if lane.quota.until <= now:
                lane.quota.reckon(now, lane.flights)
                self._changed()

    def closed(self, lanes: Iterable[Lane]) -> Closed | None:
        """Whether all that could be asked are held; None where one is not, or where there is none."""
        helds = [(lane.route.id, lane.held) for lane in lanes if lane.routable]
        if not helds or any(held is None for _, held in helds):
            return None
        told = "; ".join(f"{route} is held back: {_WORDS[held.reason]}" for route, held in helds if held is not None)
        ends = [held.until for _, held in helds if held is not None and held.reason == "rate_limited"]
        if not ends:
            return Closed(503, "no_route", told, None)
        return Closed(429, "rate_limited", told, max(0.0, min(ends) - self._clock()))

    def _key_of(self, lane: Lane) -> str | None:
        try:
            return self.keys.of(lane.route)
        except NoKeyError:
            return None

    def _hold(self, lane: Lane, held: Held) -> None:
        before, lane.held = lane.held, held
        if before is None or before.reason != held.reason:
            self._metrics.held(lane.route.id, held.reason)
            level = logging.INFO if held.reason == "rate_limited" else logging.WARNING
            _LOG.log(level, "route %s is held back: %s", lane.route.id, held.told)
        self._changed()

    def _let_go(self, lane: Lane) -> None:
        lane.held = None
        self._changed()
