"""Where a drill is played: an endpoint, and the replicas behind it that can be struck."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from polyfleet.drill.faults import Fault
from polyfleet.drill.processes import connections, listener, send
from polyfleet.drill.proxy import FaultProxy, Mode
from polyfleet.errors import LaunchError
from polyfleet.files import read_text, write_whole
from polyfleet.terms.route import Route, Routes, routes_from_json

_LOOK_EVERY_S = 0.05
_RETURN_S = 180.0
"""Until a replica that was struck is back; vLLM takes up to 70 s to start."""


class Stage(Protocol):
    """What the drill needs to know of a fleet."""

    @property
    def endpoint(self) -> str:
        """The gate's address, without a path."""

    @property
    def key(self) -> str | None:
        """What a client presents."""

    def routes(self) -> Routes:
        """The replicas there are now."""

    async def strike(self, fault: Fault, count: int, chance: random.Random) -> tuple[str, ...]:
        """Strikes `count` replicas now; gives their ids."""

    async def heal(self) -> None:
        """Takes the fault away and waits until all replicas answer again."""


class Mirror:
    """A routes file of the drill's own that leads through proxies, and follows the fleet's own file as it changes."""

    def __init__(self, source: Path, mirrored: Path, *, slow_ms: float) -> None:
        self.source, self.mirrored, self._slow_ms = source, mirrored, slow_ms
        self.proxies: dict[str, FaultProxy] = {}
        self._places: dict[str, str] = {}
        self._read = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Writes the first one and goes on following."""
        await self._follow_once()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for proxy in self.proxies.values():
            await proxy.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self._follow_once()

    async def _follow_once(self) -> None:
        text = read_text(self.source)
        if text == self._read:
            return
        self._read = text
        routes = routes_from_json(text, file=self.source)
        led = [route.model_copy(update={"url": await self._through(route.url)}) for route in routes.routes]
        write_whole(self.mirrored, routes.model_copy(update={"routes": tuple(led)}).model_dump_json())

    async def _through(self, url: str) -> str:
        if url not in self.proxies:
            self.proxies[url] = FaultProxy(url, slow_ms=self._slow_ms)
            self._places[url] = await self.proxies[url].start()
        return self._places[url]


class RoutesStage:
    """Replicas of a routes file behind a gate. `proxies` by replica address; without them only kill and freeze."""

    def __init__(
        self, endpoint: str, routes: Path, *, key: str | None = None, proxies: Mapping[str, FaultProxy] | None = None
    ) -> None:
        self._endpoint, self._key, self._file = endpoint, key, routes
        self._proxies: Mapping[str, FaultProxy] = {} if proxies is None else proxies
        self._frozen: list[int] = []
        self._count = len(self.routes().routes)

    @property
    def endpoint(self) -> str:
        return self._endpoint

    @property
    def key(self) -> str | None:
        return self._key

    def routes(self) -> Routes:
        return routes_from_json(read_text(self._file), file=self._file)

    async def strike(self, fault: Fault, count: int, chance: random.Random) -> tuple[str, ...]:
        routes = self.routes().routes
        if count >= len(routes):
            raise LaunchError(f"{fault}: {count} of {len(routes)} replicas leave none to go on; strike fewer")
        work = {route.id: self._at_work(route) for route in routes}
        busy = [route for route in routes if work[route.id] > max(work.values()) / 2]
        idle = [route for route in routes if route not in busy]
        struck = (chance.sample(busy, len(busy)) + chance.sample(idle, len(idle)))[:count]
        for route in struck:
            self._strike(fault, route)
        return tuple(route.id for route in struck)

    async def heal(self, limit_s: float = _RETURN_S) -> None:
        for proxy in self._proxies.values():
            proxy.turn(Mode.PASS)
        for pid in self._frozen:
            send(pid, signal.SIGCONT)
        self._frozen.clear()
        until = time.monotonic() + limit_s
        while gone := await self._gone():
            if time.monotonic() > until:
                raise LaunchError(f"{', '.join(gone)} did not come back within {limit_s:g} s")
            await asyncio.sleep(_LOOK_EVERY_S)

    def _at_work(self, route: Route) -> int:
        """Whom to strike first: one that stands idle, since it has only just come back, would show nothing."""
        proxy = self._proxies.get(route.url)
        return connections(urlsplit(route.url).port or 80) if proxy is None else proxy.in_flight

    def _strike(self, fault: Fault, route: Route) -> None:
        if fault.by_proxy:
            self._break(fault, self._proxies[route.url])
            return
        pid = listener(urlsplit(route.url).port or 80)
        if pid is None:
            raise LaunchError(
                f"{route.id}: no process of this machine listens at {route.url}; it can be cut, not killed"
            )
        if fault is Fault.FREEZE:
            self._frozen.append(pid)
        send(pid, signal.SIGSTOP if fault is Fault.FREEZE else signal.SIGKILL)

    @staticmethod
    def _break(fault: Fault, proxy: FaultProxy) -> None:
        if fault is Fault.CUT:
            proxy.cut()
        elif fault is Fault.GARBLE:
            proxy.garble()
        else:
            proxy.turn(Mode.SLOW)

    async def _gone(self) -> Sequence[str]:
        routes = self.routes().routes
        if len(routes) < self._count:
            return [f"{self._count - len(routes)} of {self._count} replicas"]
        return [route.id for route in routes if not await _answers(route)]


async def _answers(route: Route) -> bool:
    parts = urlsplit(route.url)
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:
        return False
    writer.close()
    return True
