"""A real gate with keys in front of real llama.cpp replicas of the tiny model, and gates in threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cutting_engine import gate_before

from polyfleet.database import open_database
from polyfleet.gate.keys import Door, create_key


@dataclass(frozen=True)
class Fleet:
    """Where it is reached, with which keys, and the replicas' processes by route."""

    port: int
    key: str
    rare_key: str
    replicas: dict[str, subprocess.Popen[str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextlib.contextmanager
def replicas(folder: Path, names: str) -> Iterator[dict[str, tuple[str, subprocess.Popen[str]]]]:
    """Address and process of a llama.cpp server for each name; gone afterwards."""
    pytest.importorskip("xllamacpp")
    from polyfleet.launch.weights import find_weights

    command = [sys.executable, "-m", "polyfleet.launch.llamacpp_server", str(find_weights("polyfleet/tiny", folder))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        running = {}
        for name in names:
            process = subprocess.Popen(
                [*command, "--slots", "4", "--names", "m"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
            )  # fmt: skip
            stack.callback(_end, process)
            line = next(line for line in process.stdout if "listening" in line)
            running[name] = (f"http://127.0.0.1:{re.search(r':([0-9]+)', line[line.rindex(':') :])[1]}", process)
        yield running


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


@contextlib.contextmanager
def gate_in_thread(folder: Path, urls: dict[str, str], door=None, **route) -> Iterator[int]:
    """The port of a gate with an event loop of its own."""
    loop, ready, stop, port = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        async with gate_before(folder, urls, door=door, **route) as gate:
            port.append(gate.port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield port[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@contextlib.contextmanager
def fleet_in(folder: Path, names: str = "ab") -> Iterator[Fleet]:
    database = open_database(f"sqlite:///{folder / 'state.db'}")
    key = create_key(database, "team", budget_usd=100.0)
    rare_key = create_key(database, "rare", rate_requests_per_min=1)
    with replicas(folder, names) as running:
        urls = {name: url for name, (url, _) in running.items()}
        with gate_in_thread(folder, urls, Door(database), engine="llama.cpp") as port:
            yield Fleet(port, key, rare_key, {name: process for name, (_, process) in running.items()})
    database.dispose()
