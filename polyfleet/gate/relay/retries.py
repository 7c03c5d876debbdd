"""How often the gate may try again: a budget over all requests, and the end of one that kills replicas."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from itertools import pairwise
from time import monotonic


class RetryBudget:
    """Retries may be `ratio` of requests, and a reserve that refills at `per_s`: one dead replica's requests all go
    elsewhere at once, while a fleet that fails everything is not asked twice as much. (Finagle's token bucket; Envoy
    bounds retries at once instead, which a single death exceeds.)"""

    __slots__ = ("_at", "_clock", "_most", "_per_s", "_ratio", "_tokens")

    def __init__(self, ratio: float = 0.2, per_s: float = 10.0, most: float = 500.0) -> None:
        self._ratio, self._per_s, self._most = ratio, per_s, most
        self._tokens = most
        self._at = monotonic()

    def request(self) -> None:
        """A request came in."""
        if self._tokens < self._most:
            self._tokens += self._ratio

    def take(self) -> bool:
        """One more try, where there is one left."""
        now = monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Strikes:
    """Replicas that died with one request on them, and where in its answer."""

    __slots__ = ("deaths",)

    def __init__(self) -> None:
        self.deaths: list[tuple[str, int]] = []

    def died(self, route_id: str, at_token: int) -> None:
        self.deaths.append((route_id, at_token))

    @property
    def poison(self) -> bool:
        """Two replicas died within `_NEAR_TOKENS` of the same place: the request is the likely cause. Deaths far apart
        in a long answer are not its own: it had run on through the place of the first one."""
        if len(self.deaths) < 2:
            return False
        places = sorted(at for _, at in self.deaths)
        return any(later - earlier <= _NEAR_TOKENS for earlier, later in pairwise(places))

    @property
    def names(self) -> str:
        return ", ".join(dict.fromkeys(route for route, _ in self.deaths))


_NEAR_TOKENS = 16


class PoisonList:
    """Requests that killed replicas, by digest: the same one is refused at the door for a while."""

    def __init__(self, keep_s: float = 600.0, most: int = 1024) -> None:
        self._keep_s, self._most = keep_s, most
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def add(self, body: bytes) -> None:
        self._seen[_digest(body)] = monotonic() + self._keep_s
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def __contains__(self, body: bytes) -> bool:
        if not self._seen:
            return False
        until = self._seen.get(_digest(body))
        return until is not None and until > monotonic()


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
