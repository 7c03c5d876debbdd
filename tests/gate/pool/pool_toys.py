"""A clock that is set by hand, an event loop that jumps to its next timer, and small routes files."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from random import Random
from typing import Any

from polyfleet.gate.pool.pool import Ask, Outcome, Pool
from polyfleet.terms.route import Route, Routes

ASK = Ask(100, 100)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def route(name: str, **more: Any) -> Route:
    return Route(**{"id": name, "url": f"http://{name}:80", "served": ("chat",), "slots": 4, **more})


def routes(*names: str, **more: Any) -> Routes:
    return Routes(routes=tuple(route(name, **more) for name in names))


def pool_of(*names: str, clock: Clock | None = None, **more: Any) -> tuple[Pool, Clock]:
    clock = clock or Clock()
    return Pool(routes(*names, **more), clock=clock, chance=Random(1)), clock


def fly(pool: Pool, name: str, outcome: Outcome = Outcome.OK, tokens: int = 10) -> None:
    """One whole attempt on a route that takes no time."""
    flight = pool.begin(name, ASK)
    flight.first_byte()
    flight.done(outcome, tokens)


def picked(pool: Pool, times: int, **more: Any) -> list[str | None]:
    """Who takes each of some requests that end at once."""
    names: list[str | None] = []
    for _ in range(times):
        chosen = pool.pick("chat", ASK, **more)
        names.append(chosen.id if chosen else None)
        if chosen:
            fly(pool, chosen.id, tokens=100)
    return names


class _JumpingSelector(selectors.SelectSelector):
    """Nothing outside is waited for: time jumps to the next timer at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing is to come")
        self.now += max(0.0, timeout)
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """Sleeps take no time: for simulations of minutes in milliseconds."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def simulate(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)
