"""Asking replicas how they are, beside the keeper's loop: a frozen one must not hold up the others."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from polyfleet.launch.driver import Alive
from polyfleet.launch.engines import ENGINES, health_path
from polyfleet.launch.reconcile import GATE
from polyfleet.terms.fleet import ENDPOINT

_TIMEOUT_S = 5.0
_READY_EVERY_S = 2.0
_LEAST_SILENCE_S = 1e-6
_THREADS = 16
_IN_FLIGHT = re.compile(r'^polyfleet_in_flight\{[^}]*\broute="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica said: whether it is ready, and the requests in it (None: it does not say). `in_flight`: what the
    gate says of those behind it, by route."""

    ready: bool
    busy: int | None = None
    in_flight: Mapping[str, int] | None = None


Ask = Callable[[Alive], Answer]


def ask_over_http(alive: Alive) -> Answer:
    """Its health, and its load where its engine tells. What has no address yet is not ready."""
    if not alive.url or alive.spec.place == ENDPOINT:  # a host bills or counts what it is asked: the gate sees it fail
        return Answer(ready=bool(alive.url))
    engine = ENGINES.get(alive.spec.engine, ENGINES["command"])
    try:
        if fetch(alive.url, health_path(alive.spec)) is None:
            return Answer(ready=False)
        if engine.running is None and alive.spec.engine != GATE:
            return Answer(ready=True)
        page = fetch(alive.url, "/metrics") or ""
    except OSError:
        return Answer(ready=False)
    if alive.spec.engine == GATE:
        return Answer(ready=True, in_flight={route: int(float(n)) for route, n in _IN_FLIGHT.findall(page)})
    figures = metrics_of(page, engine.running, engine.waiting)
    return Answer(ready=True, busy=int(sum(figures.values())) if figures else None)


def fetch(url: str, path: str, timeout_s: float = _TIMEOUT_S) -> str | None:
    """The text at an address that answers 200, None where it answers otherwise. Raises OSError where it does not."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return text if answer.status == http.client.OK else None
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()


def metrics_of(page: str, *names: str | None) -> dict[str, float]:
    """Figures of a Prometheus page by name, summed over their labels; those that are not there are left out."""
    sums: dict[str, float] = {}
    for line in page.splitlines():
        name, _, figure = line.rpartition(" ")
        name = name.partition("{")[0].strip()
        if name in names:
            try:
                sums[name] = sums.get(name, 0.0) + float(figure)
            except ValueError:
                continue
    return sums


class Watch:
    """Asks each replica again and again: often until it is ready or while it drains, then every 2 seconds.

    `close` it when done. Never raises for what a replica does.
    """

    def __init__(self, ask: Ask = ask_over_http, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="watch")
        self._asked: dict[tuple[str, int, float], _Asked] = {}

    def look(self, alive: Mapping[str, Alive], often: frozenset[str]) -> None:
        """Take in answers that came, and ask those who are due."""
        keys = {_key(one): one for one in alive.values()}
        self._asked = {key: self._asked.get(key) or _Asked(self._clock()) for key in keys}
        for key, one in keys.items():
            asked = self._asked[key]
            asked.take_in(self._clock())
            due_s = 0.0 if one.spec.id in often or not asked.answered else _READY_EVERY_S
            if asked.pending is None and self._clock() - asked.at >= due_s:
                asked.at = self._clock()
                asked.pending = self._pool.submit(self._ask, one)

    def silent_s(self) -> dict[str, float]:
        """By id: 0 where the last answer was that it is ready, and is not old; else how long it has not been."""
        now = self._clock()
        return {key[0]: asked.silent_s(now) for key, asked in self._asked.items()}

    def busy(self) -> dict[str, int | None]:
        """Requests in each, as it told last; where it does not, as the gate did."""
        told = next((a.in_flight for a in self._asked.values() if a.answered and a.in_flight is not None), None)
        by_gate = {} if told is None else {key[0]: told.get(key[0], 0) for key in self._asked}
        return {key[0]: by_gate.get(key[0]) if asked.busy is None else asked.busy for key, asked in self._asked.items()}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Asked:
    """What is known of one process. `good_at`: when it was last ready, or first seen."""

    def __init__(self, now: float) -> None:
        self.good_at = now
        self.at = float("-inf")
        self.answered = False
        self.busy: int | None = None
        self.in_flight: Mapping[str, int] | None = None
        self.pending: Future[Answer] | None = None

    def silent_s(self, now: float) -> float:
        silent = now - self.good_at
        return 0.0 if self.answered and silent <= _READY_EVERY_S + _TIMEOUT_S else max(silent, _LEAST_SILENCE_S)

    def take_in(self, now: float) -> None:
        if self.pending is None or not self.pending.done():
            return
        answer = self.pending.result() if self.pending.exception() is None else Answer(ready=False)
        self.pending = None
        self.answered, self.busy, self.in_flight = answer.ready, answer.busy, answer.in_flight
        if answer.ready:
            self.good_at = now


def _key(alive: Alive) -> tuple[str, int, float]:
    return alive.spec.id, alive.pid, alive.process_started
