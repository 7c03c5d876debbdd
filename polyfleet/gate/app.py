"""The gate as one process: its paths, its routes file, its background work, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from aiohttp import web

from polyfleet.errors import RoutesError
from polyfleet.files import read_text
from polyfleet.gate.engines import engine_of
from polyfleet.gate.http.client import Client
from polyfleet.gate.http.faults import Fault
from polyfleet.gate.http.openapi import description
from polyfleet.gate.http.server import STOPPED, GateServer, Limits, read_body
from polyfleet.gate.http.upstream import Upstream, UpstreamFailed
from polyfleet.gate.keys.passes import Estimate, Pass, Used
from polyfleet.gate.pool.admission import Admission, AdmissionRules
from polyfleet.gate.pool.pool import Pool
from polyfleet.gate.pool.probes import own, run_probes
from polyfleet.gate.relay.asked import Kind
from polyfleet.gate.relay.engine_request import host_of, upstream_path
from polyfleet.gate.relay.relay import Relay, tell
from polyfleet.gate.relay.shared import Rules, Shared
from polyfleet.gate.seen.access_log import AccessLine, AccessLog
from polyfleet.gate.seen.metrics import Metrics
from polyfleet.terms.route import Route, routes_from_json

if TYPE_CHECKING:
    from polyfleet.gate.seen.traces import Traces

_LOG = logging.getLogger(__name__)
_JSON = ((b"content-type", b"application/json"),)
_KINDS = {kind.value: kind for kind in Kind}
_TICK_S = 0.1


class DoorLike(Protocol):
    """See Door and OpenDoor."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def admit(self, presented: str | None, model: str, estimate: Estimate) -> Pass: ...
    async def check(self, presented: str | None) -> None: ...
    def settle(self, pass_: Pass, used: Used) -> None: ...


@dataclass(frozen=True)
class GateSettings:
    """How a gate runs. `workers` is how many share the port; `metrics_folder` where they meet."""

    routes_file: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    worker: str = "0"
    drain_s: float = 30.0
    poll_s: float = 0.5
    probe_s: float = 1.0
    access_log: Path | None = None
    traces: Traces | None = None
    metrics_folder: Path | None = None
    limits: Limits = field(default_factory=Limits)
    rules: Rules = field(default_factory=Rules)
    admission: AdmissionRules = field(default_factory=AdmissionRules)


class Gate:
    """`await start()`, then `await close()`, which drains. `port` is known after the start."""

    def __init__(self, settings: GateSettings, door: DoorLike) -> None:
        self.settings, self.door = settings, door
        self.metrics = Metrics(settings.metrics_folder, settings.worker)
        self.pool = Pool(metrics=self.metrics, workers=settings.workers)
        self.shared = Shared(self.pool, Upstream(), self.metrics, settings.rules)
        self.admission = Admission(self.pool, settings.admission)
        self.relay = Relay(self.shared, self.admission, door)
        self.log = AccessLog(settings.access_log, self.metrics)
        self.port = settings.port
        self._seen: tuple[int, int, int] | None = None
        self._server: GateServer | None = None
        self._listener: asyncio.Server | None = None
        self._work: list[asyncio.Task[Any]] = []
        self._paths: dict[str, Callable[[Client], Awaitable[None]]] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
        }

    # life

    async def start(self, listener: Any = None) -> None:
        """Reads the routes, opens the door, listens. Raises RoutesError, OSError (the port), what the door raises."""
        self.reload(first=True)
        await self.door.start()
        self._server = GateServer(self._handle, self.settings.limits)
        loop = asyncio.get_running_loop()
        place = {"sock": listener} if listener is not None else {"host": self.settings.host, "port": self.port}
        self._listener = await loop.create_server(
            self._server, **place, backlog=1024, reuse_port=self.settings.workers > 1 and listener is None
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        self._run(self._watch_routes(), self._watch_stalls(), self.log.run())
        self._run(run_probes(self.pool, self._probe, every_s=self.settings.probe_s, wanted=_probed))
        if self.settings.metrics_folder is not None:
            self._run(self.metrics.run())

    def _run(self, *work: Coroutine[Any, Any, Any]) -> None:
        self._work.extend(asyncio.ensure_future(one) for one in work)

    async def close(self) -> None:
        """Takes nothing new, lets what runs go on for `drain_s`, then ends it; writes the ledger and the log."""
        if self._server is not None and self._listener is not None:
            self._server.closing = True
            self._listener.close()
            for connection in self._server.connections:
                if not connection._request_in_progress:
                    connection.force_close()
            await self._server.drain(self.settings.drain_s)
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self.shared.upstream.close()
        if self.settings.traces is not None:
            await self.settings.traces.close()
        await self.door.close()

    def reload(self, *, first: bool = False) -> None:
        """Take the routes file as it is now. A broken one is told of, and the routes stay as they were; `first` raises
        RoutesError instead."""
        path = self.settings.routes_file
        try:
            seen = _stamp(path)
            routes = routes_from_json(read_text(path, RoutesError), file=path)
        except (RoutesError, OSError) as error:
            if first:
                raise
            _LOG.error("the routes stay as they are: %s", error)
            self._seen = _stamp(path)
            return
        self._seen = seen
        self.pool.update(routes)

    async def _watch_routes(self) -> None:
        while True:
            await asyncio.sleep(self.settings.poll_s)
            self.pool.check_keys()
            if _stamp(self.settings.routes_file) != self._seen:
                self.reload()

    async def _watch_stalls(self) -> None:
        """Legs that have been silent for too long. Where the gate itself was held up, nobody is blamed."""
        due = monotonic() + _TICK_S
        while True:
            await asyncio.sleep(_TICK_S)
            late, due = monotonic() - due, monotonic() + _TICK_S
            self.pool.tick()
            if late > 5 * _TICK_S:
                continue
            for leg in list(self.shared.flying):
                if leg.is_stalled(self.pool):
                    leg.stall()

    async def _probe(self, route: Route) -> bool:
        path = upstream_path(route.path, engine_of(route.engine).health_path or "/health")
        request = f"GET {path} HTTP/1.1\r\nhost: {host_of(route.url)}\r\nconnection: close\r\n\r\n".encode()
        try:
            status, _, _ = await self.shared.upstream.ask(route.url, request, timeout_s=10.0, fresh=True)
        except UpstreamFailed:
            return False
        return status < 500

    # requests

    async def _handle(self, request: web.BaseRequest, client: Client) -> None:
        path = request.path
        kind = _KINDS.get(path)
        if kind is not None:
            if request.method != "POST":
                raise _not_allowed(request.method, path, "POST")
            await self._relayed(kind, request, client)
            return
        if request.method not in {"GET", "HEAD"}:
            raise _not_allowed(request.method, path, "GET, HEAD") if self._is_path(path) else _no_path(path)
        if path in self._paths:
            await self._paths[path](client)
        elif path == "/v1/models":
            await self._models(client)
        elif path.startswith("/v1/models/"):
            await self._model(path.removeprefix("/v1/models/"), client)
        else:
            raise _no_path(path)

    def _is_path(self, path: str) -> bool:
        return path in self._paths or path == "/v1/models" or path.startswith("/v1/models/")

    async def _relayed(self, kind: Kind, request: web.BaseRequest, client: Client) -> None:
        began = monotonic()
        if self.settings.traces is not None:
            client.trace = self.settings.traces.begin(kind, request.headers)
        try:
            if not request.content.is_eof():
                await self.relay.check_key(request.headers)
            body = await read_body(request, client, self.settings.limits)
            await self.relay.answer(kind, body, request.headers, client)
        except Fault as fault:
            if not request.content.is_eof():
                client.close_after()
            tell(client, fault)
        finally:
            if self.settings.access_log is not None or client.trace is not None:
                self._note(request, client, monotonic() - began)
            client.told = client.trace = None

    def _note(self, request: web.BaseRequest, client: Client, seconds: float) -> None:
        line = AccessLine(client.request_id, request.method, request.path, client.status or 499, seconds,
                          error=client.error, client_gone=client.gone and client.error != STOPPED)  # fmt: skip
        line = line if client.told is None else client.told(line)
        self.log.write(line)
        if client.trace is not None:
            client.trace.end(line)

    async def _health(self, client: Client) -> None:
        client.whole(200, _JSON, b'{"status":"ok"}')

    async def _ready(self, client: Client) -> None:
        models = {name: self.pool.ready(name) for name in self.pool.models()}
        closing = self._server is not None and self._server.closing
        ready = bool(models) and any(models.values()) and not closing
        told = {"status": "draining" if closing else "ready" if ready else "no replica", "models": models}
        client.whole(200 if ready else 503, _JSON, orjson.dumps(told))

    async def _metrics(self, client: Client) -> None:
        client.whole(200, [(b"content-type", self.metrics.content_type.encode())], self.metrics.render())

    async def _openapi(self, client: Client) -> None:
        client.whole(200, _JSON, orjson.dumps(description()))

    async def _models(self, client: Client) -> None:
        data = [_model_object(name) for name in self.pool.models()]
        client.whole(200, _JSON, orjson.dumps({"object": "list", "data": data}))

    async def _model(self, name: str, client: Client) -> None:
        if name not in self.pool.models():
            raise Fault(
                404, "model_not_found", f"there is no model of this name; there are: {', '.join(self.pool.models())}"
            )
        client.whole(200, _JSON, orjson.dumps(_model_object(name)))


def _model_object(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "polyfleet"}


def _probed(route: Route) -> bool:
    """Whether a route is probed. An API to which a key is sent is known by its answers alone, where its engine is not
    known to have a path for health."""
    return engine_of(route.engine).health_path is not None or own(route)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


def _no_path(path: str) -> Fault:
    shown = path if len(path) <= 80 else path[:77] + "..."
    return Fault(
        404,
        "unknown_path",
        f"there is no {shown}; there are {', '.join(_KINDS)}, /v1/models, /health, /ready, /metrics",
    )


def _not_allowed(method: str, path: str, allowed: str) -> Fault:
    return Fault(405, "method_not_allowed", f"{path} takes {allowed}, not {method[:16]}", allow=allowed)


async def serve(settings: GateSettings, door: DoorLike, ready: Callable[[Gate], None] | None = None) -> None:
    """Runs a gate until SIGTERM or SIGINT; SIGHUP reads the routes anew."""
    gate = Gate(settings, door)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, gate.reload)
    await gate.start()
    try:
        if ready is not None:
            ready(gate)
        await stop.wait()
    finally:
        await gate.close()
