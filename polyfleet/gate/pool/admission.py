"""Who may come in, and who waits: bounded by the predicted wait, fair across keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType

from polyfleet.gate.pool.ask import Ask
from polyfleet.gate.pool.meter import Mean
from polyfleet.gate.pool.pool import Pool
from polyfleet.gate.pool.refused import Refused
from polyfleet.gate.seen.metrics import Gauge
from polyfleet.routing import FairQueue, Promises

_ENOUGH = 4
_UNKNOWN_S = 5.0
"""When to come back where nothing is known of the speed: soon, since most engines answer within seconds."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """`max_wait_s`: who would wait longer is refused; `max_wait_s_by_model` where a model's promise asks for another.

    `waiting` requests and `waiting_bytes` of their bodies are held at most in all; `running` requests of a model at
    most, where its routes name no slots. `overcommit`: requests let in per slot. `unmeasured`: how many of a model may
    wait while its speed is not known yet, or none of its routes is there.
    """

    max_wait_s: float = 30.0
    max_wait_s_by_model: dict[str, float] = field(default_factory=dict)
    waiting: int = 4_096
    waiting_bytes: int = 256 * 1024 * 1024
    running: int = 4_096
    overcommit: float = 1.0
    unmeasured: int = 256

    def wait_s(self, model: str) -> float:
        return self.max_wait_s_by_model.get(model, self.max_wait_s)


class _Door:
    """One model: who runs, who waits, how long they took."""

    def __init__(self) -> None:
        self.running = 0
        self.queue: FairQueue[Entry] = FairQueue()
        self.promises = Promises()
        self.took_s = Mean()
        self.took_work = Mean()


class Admission:
    """`async with admission.enter(model, key, ask): ...` holds a place from the first attempt to the last byte.

    Raises Refused: 429 `overloaded` where the wait would be too long, with the seconds after which this key is let in;
    503 `no_replica` where no route of the model came back in time; 429 `rate_limited` or 503 `no_route` where all of
    them are held back for longer than one may wait. It counts the queue; refusals are counted by who answers them.
    `key` is a name or id, never the secret.
    """

    def __init__(
        self, pool: Pool, rules: AdmissionRules | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self.pool, self.rules, self.clock = pool, rules or AdmissionRules(), clock
        self._doors: dict[str, _Door] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        pool.on_change(self._drain_all)
        pool.metrics.watch(self._gauges)

    def enter(self, model: str, key: str, ask: Ask, body_bytes: int = 0, body: bytes = b"") -> Entry:
        """A place for one request; `model` one of the pool's. By its `body` a request is known again that comes back
        when told to; without it any request of the key is taken for that one."""
        return Entry(self, model, key, self.pool.cost(model, ask), body_bytes or len(body), body)

    def predicted_wait_s(self, model: str, key: str = "", ask: Ask | None = None) -> float:
        """Seconds that a request would wait now, as far as it can be told; one of the mean size where none is given."""
        door = self._doors.get(model)
        if door is None or (not door.queue and self._has_room(model, door)):
            return 0.0
        cost = door.took_work.value if ask is None else self.pool.cost(model, ask)
        return self._wait_s(model, door, key, cost, newcomer=False) or 0.0

    # for Entry alone

    async def admit(self, entry: Entry) -> None:
        door = self._doors.get(entry.model)
        if door is None:
            door = self._doors[entry.model] = _Door()
        if not door.queue and self._has_room(entry.model, door):
            door.running += 1
            return
        closed = self.pool.closed(entry.model)
        if closed is not None and closed.lasts(self.rules.wait_s(entry.model)):
            raise Refused(closed.status, closed.code, closed.told, closed.after_s)
        self._check(entry, door)
        await self._wait(entry, door)

    def leave(self, entry: Entry, seconds: float) -> None:
        door = self._doors[entry.model]
        door.running -= 1
        door.took_s.add(max(seconds, 1e-6))
        door.took_work.add(entry.cost)
        if self._waiting:
            self._drain_all()

    def _room(self, model: str) -> float:
        return min(self.pool.room(model) * self.rules.overcommit, self.rules.running)

    def _has_room(self, model: str, door: _Door) -> bool:
        return max(door.running, self.pool.flights(model)) < self._room(model)

    def _rate(self, model: str, door: _Door) -> float:
        """Tokens of work served per second with every place taken (Little's law); 0 where it is not known yet."""
        if door.took_s.count < _ENOUGH:
            return 0.0
        return self._room(model) * door.took_work.value / door.took_s.value

    def _wait_s(self, model: str, door: _Door, key: str, cost: float, newcomer: bool) -> float | None:
        rate = self._rate(model, door)
        if rate <= 0:
            return None
        coming = self._coming(model, door, key) if newcomer else (0.0, 0.0, 0)
        return (door.queue.ahead(key, cost, coming) + door.took_work.value) / rate

    def _coming(self, model: str, door: _Door, key: str) -> tuple[float, float, int]:
        """Work of those who were told to come back before a newcomer is served: of this key, of all; their keys."""
        now, within_s, promises = self.clock(), self.rules.wait_s(model), door.promises
        return promises.due_work(now, within_s, key), promises.due_work(now, within_s), promises.keys

    def _check(self, entry: Entry, door: _Door) -> None:
        """Raises Refused where this one may not wait."""
        now, most_s = self.clock(), self.rules.wait_s(entry.model)
        promised = door.promises.redeem(entry.key, entry.mark, now)
        wait_s = self._wait_s(entry.model, door, entry.key, entry.cost, newcomer=not promised)
        if wait_s is None:
            fits = door.queue.waiting < self.rules.unmeasured
        else:
            fits = wait_s <= most_s * (1.5 if promised else 1.0)
        bytes_fit = self._waiting_bytes + entry.body_bytes <= self.rules.waiting_bytes
        if fits and bytes_fit and self._waiting < self.rules.waiting:
            return
        after_s = max(0.0, (wait_s or 0.0) - most_s)
        raise self._full(entry, door, after_s)

    async def _wait(self, entry: Entry, door: _Door) -> None:
        loop = asyncio.get_running_loop()
        entry.called = loop.create_future()
        self._hold(entry, 1)
        door.queue.push(entry.key, entry, entry.cost)
        began = self.clock()
        try:
            async with asyncio.timeout(2.0 * self.rules.wait_s(entry.model)):
                await entry.called
        except TimeoutError:
            if not self._give_up(entry, door):
                return
            raise self._too_late(entry.model, door, entry) from None
        except asyncio.CancelledError:
            if not self._give_up(entry, door):
                door.running -= 1
                self._drain_all()
            raise
        finally:
            entry.waited_s = self.clock() - began
            self.pool.metrics.histogram("polyfleet_queue_seconds", entry.model).observe(entry.waited_s)

    def _hold(self, entry: Entry, sign: int) -> None:
        self._waiting += sign
        self._waiting_bytes += sign * entry.body_bytes

    def _give_up(self, entry: Entry, door: _Door) -> bool:
        """Leave the queue; False where it was called in the same moment."""
        if not door.queue.remove(entry.key, entry):
            return False
        self._hold(entry, -1)
        return True

    def _too_late(self, model: str, door: _Door, entry: Entry) -> Refused:
        if not self.pool.ready(model):
            return Refused(503, "no_replica", f"no replica of {model} is ready")
        return self._full(entry, door, 0.0)

    def _full(self, entry: Entry, door: _Door, after_s: float) -> Refused:
        rate, told = self._rate(entry.model, door), _UNKNOWN_S
        if rate > 0:
            told = door.promises.book(entry.key, entry.mark, entry.cost, after_s, rate, self.clock())
        return Refused(429, "overloaded", f"{entry.model} is at its limit; come back in {told:.0f} s", told)

    def _drain_all(self) -> None:
        for model, door in self._doors.items():
            while door.queue and self._has_room(model, door):
                entry = door.queue.pop()
                if entry is None:
                    break
                self._hold(entry, -1)
                door.running += 1
                if entry.called is not None and not entry.called.done():
                    entry.called.set_result(None)

    def _gauges(self) -> Iterator[Gauge]:
        for model, door in self._doors.items():
            yield "polyfleet_queue", (model,), float(door.queue.waiting)
            yield "polyfleet_predicted_wait_seconds", (model,), self.predicted_wait_s(model)


class Entry:
    """A place, while it is held. `waited_s` how long it waited for it."""

    __slots__ = ("_admission", "_body", "_since", "body_bytes", "called", "cost", "key", "model", "waited_s")

    def __init__(self, admission: Admission, model: str, key: str, cost: float, body_bytes: int, body: bytes) -> None:
        self._admission, self._body = admission, body
        self.model, self.key, self.cost, self.body_bytes = model, key, cost, body_bytes
        self.called: asyncio.Future[None] | None = None
        self.waited_s = 0.0
        self._since = 0.0

    @property
    def mark(self) -> int:
        """What the request is known by; only worked out where the gate is full."""
        return hash(self._body)

    async def __aenter__(self) -> Entry:
        await self._admission.admit(self)
        self._since = self._admission.clock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.leave(self, self._admission.clock() - self._since)
