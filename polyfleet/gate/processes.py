"""The gate's processes: one, or several that share a port."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from sqlalchemy import Engine

from polyfleet.errors import LaunchError, RoutesError
from polyfleet.files import read_text
from polyfleet.gate.app import Gate, GateSettings, serve
from polyfleet.gate.http.server import Limits
from polyfleet.gate.keys.door import Door
from polyfleet.gate.keys.fold import KEEP_S
from polyfleet.gate.keys.open_door import OpenDoor
from polyfleet.gate.pool.admission import AdmissionRules
from polyfleet.gate.seen.metrics import Metrics
from polyfleet.terms.route import routes_from_json

if TYPE_CHECKING:
    from polyfleet.gate.seen.traces import Traces

_WORKER = "POLYFLEET_GATE_WORKER"
_METRICS = "POLYFLEET_GATE_METRICS"
_CALM_S = 10.0
"""A worker that lived so long is started again at once; one that dies sooner only after a pause."""


@dataclass(frozen=True)
class GateCommand:
    """What the command line says."""

    routes: Path
    state: str | None
    host: str
    port: int
    workers: int = 1
    keys: bool = True
    access_log: Path | None = None
    otlp: str | None = None
    keep_s: float = KEEP_S
    drain_s: float = 30.0
    max_wait_s: float = 10.0
    body_bytes: int = 64 * 2**20

    def traces(self) -> Traces | None:
        """What makes traces, where they are asked for: nothing of it is imported else."""
        if self.otlp is None:
            return None
        from polyfleet.gate.seen.traces import Traces

        return Traces(self.otlp)

    def door(self, engine: Engine | None) -> Door | OpenDoor:
        """`engine` must be there where keys are asked for."""
        if self.keys and engine is not None:
            return Door(engine, keep_s=self.keep_s)
        return OpenDoor(engine, keep_s=self.keep_s)

    def settings(self) -> GateSettings:
        folder = os.environ.get(_METRICS)
        return GateSettings(
            self.routes,
            host=self.host,
            port=self.port,
            workers=self.workers,
            worker=os.environ.get(_WORKER, "0"),
            drain_s=self.drain_s,
            access_log=self.access_log,
            traces=self.traces(),
            metrics_folder=Path(folder) if folder else None,
            limits=Limits(body_bytes=self.body_bytes),
            admission=AdmissionRules(max_wait_s=self.max_wait_s),
        )


def run_one(command: GateCommand, engine: Engine | None, tell: Callable[[str], None]) -> None:
    """Serve in this process until it is ended. Raises RoutesError, LaunchError where the port cannot be had."""
    door = command.door(engine)

    def ready(gate: Gate) -> None:
        tell(f"http://{_shown(command.host)}:{gate.port}")

    calm_collector()
    try:
        uvloop.run(serve(command.settings(), door, ready))
    except OSError as error:
        raise _no_port(command, error) from None


def run_workers(command: GateCommand) -> None:
    """Start workers and keep them running until this process is ended; they end with it.

    Each is a process of its own that listens on the same port (SO_REUSEPORT: the kernel shares connections out).
    """
    if command.otlp is not None:
        from polyfleet.gate.seen.traces import check_collector

        check_collector(command.otlp)
    routes_from_json(read_text(command.routes, RoutesError), file=command.routes)
    with _reserved(command) as port, tempfile.TemporaryDirectory(prefix="polyfleet-gate-") as folder:
        Metrics.clear(Path(folder))
        _Workers(replace(command, port=port), Path(folder)).run()


@contextlib.contextmanager
def _reserved(command: GateCommand) -> Iterator[int]:
    """The port, held for all workers by a socket that does not listen."""
    kind = socket.AF_INET6 if ":" in command.host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind((command.host, command.port))
        except OSError as error:
            raise _no_port(command, error) from None
        yield holder.getsockname()[1]


class _Workers:
    def __init__(self, command: GateCommand, folder: Path) -> None:
        self._command, self._folder = command, folder
        self._running: dict[int, tuple[int, float]] = {}
        self._ending = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._pass_on)
        for index in range(self._command.workers):
            self._start(index)
        print(
            f"gate: http://{_shown(self._command.host)}:{self._command.port}/v1 ({self._command.workers} workers)",
            flush=True,
        )
        while self._running:
            with contextlib.suppress(InterruptedError, ChildProcessError):
                pid, _ = os.wait()
                self._ended(pid)

    def _start(self, index: int) -> None:
        environment = {**os.environ, _WORKER: str(index), _METRICS: str(self._folder)}
        pid = os.posix_spawn(sys.executable, self._line(), environment, setsigmask=[])
        self._running[pid] = (index, time.monotonic())

    def _line(self) -> list[str]:
        command = self._command
        line = [
            sys.executable,
            "-m",
            "polyfleet.gate.worker",
            "--parent",
            str(os.getpid()),
            "--routes",
            str(command.routes),
        ]
        line += ["--host", command.host, "--port", str(command.port), "--workers", str(command.workers)]
        line += [
            "--drain",
            str(command.drain_s),
            "--max-wait",
            str(command.max_wait_s),
            "--max-body",
            str(command.body_bytes),
        ]
        line += [] if command.keys else ["--no-keys"]
        line += ["--state", command.state] if command.state else []
        line += ["--keep", str(command.keep_s)]
        line += ["--otlp", command.otlp] if command.otlp else []
        return line + (["--access-log", str(command.access_log)] if command.access_log else [])

    def _ended(self, pid: int) -> None:
        index, since = self._running.pop(pid, (-1, 0.0))
        if index < 0 or self._ending:
            return
        if time.monotonic() - since < _CALM_S:
            time.sleep(1.0)
        if not self._ending:
            self._start(index)

    def _end(self, _number: int, _frame: object) -> None:
        self._ending = True
        self._pass_on(signal.SIGTERM, None)

    def _pass_on(self, number: int, _frame: object) -> None:
        for pid in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def calm_collector() -> None:
    """What was imported lives for ever, and requests leave few cycles: looking for them every 700 objects costs 3 %."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def end_with(parent: int) -> None:
    """Ends this process, as SIGTERM does, once its parent is gone."""
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host


def _no_port(command: GateCommand, error: OSError) -> LaunchError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return LaunchError(f"{command.host}:{command.port} cannot be listened on: {reason.lower()}")
