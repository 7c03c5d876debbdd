"""What one route's host allows still, as its answers' headers tell. Time is handed in."""

from __future__ import annotations

from typing import NamedTuple

from polyfleet.gate.http.rate_limits import MOST_KINDS, Told

MOST_HOLD_S = 600.0
"""A route is tried again after this long, whatever was told: one refused request costs less than a wrong figure."""

_NEAR = 0.1
"""Below this part of a limit the route is given less."""
_LEAST = 0.02
_UNKNOWN_RESET_S = 1.0
_KEEP_S = 60.0
"""For so long a figure counts that was told without its reset."""
_BACK_OFF_S, _BACK_OFF_MOST_S = 0.5, 60.0
_KEY_REFUSED_S = 5.0


class Figure(NamedTuple):
    """One limit as it was told last; it counts until `until`."""

    limit: float
    remaining: float
    until: float


class Held(NamedTuple):
    """A route that takes nothing. `reason`: `no_key`, `key_refused` or `rate_limited`; `told` says it in words."""

    reason: str
    told: str
    until: float


class Quota:
    """One route's limits. `figures` by the host's own word for the kind."""

    __slots__ = ("_key_refusals", "_refusals", "cap", "figures", "refused_key", "scale", "until")

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.refused_key: int | None = None
        self._refusals = self._key_refusals = 0
        self.scale = 1.0
        """What part of its share it is given."""
        self.cap = float("inf")
        """Requests in flight that it may have."""
        self.until = float("inf")
        """When `scale` and `cap` end by time alone."""

    def take_in(self, told: Told, now: float, flights: int) -> Held | None:
        """Headers of an answer; `flights` are in flight, all known to the host. Why it takes nothing now, or None."""
        empty_until = 0.0
        empty = ""
        for kind, limit, remaining, reset_s in told.limits:
            if remaining is None or (kind not in self.figures and len(self.figures) >= MOST_KINDS):
                continue
            before = self.figures.get(kind)
            most = max(remaining, before.limit if before else 0.0) if limit is None else limit
            until = now + min(MOST_HOLD_S, _KEEP_S if reset_s is None else reset_s)
            self.figures[kind] = Figure(most, remaining, until)
            if remaining < 1:
                end = now + min(MOST_HOLD_S, _UNKNOWN_RESET_S if reset_s is None else reset_s)
                if end > max(now, empty_until):
                    empty_until, empty = end, kind
        self.reckon(now, flights)
        if not empty:
            return None
        return Held("rate_limited", f"its host's limit of {empty} is used up", empty_until)

    def reckon(self, now: float, flights: int) -> None:
        """Work out `scale` and `cap` anew: after headers, and once their time is over."""
        self.scale, self.cap, self.until = 1.0, float("inf"), float("inf")
        for kind, (limit, remaining, until) in self.figures.items():
            part = remaining / limit if limit > 0 else 0.0
            if until <= now or part >= _NEAR:
                continue
            self.scale = min(self.scale, max(_LEAST, part / _NEAR))
            self.until = min(self.until, until)
            if kind.startswith("request"):
                self.cap = min(self.cap, max(1.0, flights + remaining))

    def refused(self, status: int, after_s: float | None, now: float, *, backs_off: bool) -> Held | None:
        """It said that it is full. Without a word for how long, one that `backs_off` is given more time with each
        refusal; of others the pool learns how much they hold."""
        if after_s:
            return Held("rate_limited", f"it answered {status} with Retry-After", now + min(MOST_HOLD_S, after_s))
        if not backs_off:
            return None
        pause_s = min(_BACK_OFF_MOST_S, _BACK_OFF_S * 2.0 ** min(self._refusals, 20))
        self._refusals += 1
        return Held("rate_limited", f"it answered {status}", now + pause_s)

    def key_refused(self, status: int, key: str | None, now: float) -> Held:
        """It does not take the key. Tried again from time to time: rights may be given late."""
        self.refused_key = hash(key)
        pause_s = min(MOST_HOLD_S, _KEY_REFUSED_S * 2.0 ** min(self._key_refusals, 20))
        self._key_refusals += 1
        why = f"its key was refused ({status})" if key else f"it asks for a key ({status}) and none is named"
        return Held("key_refused", why, now + pause_s)

    def worked(self) -> None:
        """It answered while it was not held."""
        self._refusals = self._key_refusals = 0
