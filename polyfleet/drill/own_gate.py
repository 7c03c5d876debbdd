"""A gate of the drill's own, in front of the fleet's replicas and behind the drill's proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from polyfleet.errors import LaunchError

_LOOK_EVERY_S = 0.05


def gate_command(routes: Path, port: int) -> list[str]:
    """Starts polyfleet's gate without keys on a port of this machine. A crowd waits there: a refusal shows nothing."""
    options = ["--routes", str(routes), "--host", "127.0.0.1", "--port", str(port), "--no-keys", "--max-wait", "60"]
    return [sys.executable, "-m", "polyfleet", "gate", *options]


@contextlib.asynccontextmanager
async def running_gate(command: Sequence[str], port: int, log: Path, *, limit_s: float = 30.0) -> AsyncIterator[str]:
    """Runs a gate until the block ends; gives its address. Raises LaunchError with its last lines where it dies."""
    endpoint = f"http://127.0.0.1:{port}"
    with log.open("wb") as lines:
        process = await asyncio.create_subprocess_exec(*command, stdout=lines, stderr=lines, start_new_session=True)
    try:
        await _until_ready(process, endpoint, log, limit_s)
        yield endpoint
    finally:
        await _stop(process)


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def _until_ready(process: asyncio.subprocess.Process, endpoint: str, log: Path, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    async with aiohttp.ClientSession() as client:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with client.get(endpoint + "/ready") as answer:
                    if answer.status == 200:
                        return
            if process.returncode is not None or time.monotonic() > until:
                told = "ended" if process.returncode is not None else f"is not ready after {limit_s:g} s"
                last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                raise LaunchError(f"the drill's gate {told}\n{last}")
            await asyncio.sleep(_LOOK_EVERY_S)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10.0)
    except TimeoutError:
        process.kill()
        await process.wait()
