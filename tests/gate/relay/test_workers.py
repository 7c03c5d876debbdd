"""The gate as users start it: processes that share a port, end with their parent, and say one line when they cannot."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from cutting_engine import CuttingEngine, ask, routes_text, told

STREAM = {"model": "m", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 8, "stream": True}


def _command(routes: Path, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "polyfleet", "gate", "--routes", str(routes), "--port", str(port), "--no-keys", *more]


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def _children(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


async def _ready(port: int) -> None:
    async with aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"http://127.0.0.1:{port}/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def _with_workers(tmp_path: Path, end: signal.Signals) -> None:
    engine, port, routes = CuttingEngine(), _free_port(), tmp_path / "routes.json"
    async with engine.serve() as url:
        routes.write_text(routes_text({"a": url}))
        parent = subprocess.Popen(_command(routes, port, "--workers", "2", "--drain", "1"), stdout=subprocess.DEVNULL)
        try:
            await asyncio.wait_for(_ready(port), 60)
            workers = _children(parent.pid)
            assert len(workers) == 2
            for _ in range(8):
                assert told((await ask(port, STREAM))[2]).done
            victim = workers.pop()
            os.kill(victim, signal.SIGKILL)
            await asyncio.wait_for(_ready(port), 60)
            parent.send_signal(end)
            await asyncio.to_thread(parent.wait, 30)
            until = time.monotonic() + 30
            while any(_alive(pid) for pid in workers) and time.monotonic() < until:
                await asyncio.sleep(0.05)
            assert not any(_alive(pid) for pid in workers)
        finally:
            for pid in _children(parent.pid) | {parent.pid}:
                if _alive(pid):
                    os.kill(pid, signal.SIGKILL)
            parent.wait()


def test_workers_share_a_port_and_end_with_their_parent(tmp_path):
    asyncio.run(_with_workers(tmp_path, signal.SIGTERM))


def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path):
    asyncio.run(_with_workers(tmp_path, signal.SIGKILL))


def test_a_taken_port_and_a_broken_routes_file_are_one_line(tmp_path):
    routes = tmp_path / "routes.json"
    routes.write_text('{"routes":[{"id":"a"}]}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        broken = subprocess.run(_command(routes, port), capture_output=True, text=True, timeout=60, check=False)
        routes.write_text('{"routes":[]}')
        busy = subprocess.run(_command(routes, port), capture_output=True, text=True, timeout=60, check=False)
    assert (broken.returncode, broken.stderr.count("\n")) == (2, 1)
    assert "routes.0.url" in broken.stderr
    assert (busy.returncode, busy.stderr.count("\n")) == (1, 1)
    assert "in use" in busy.stderr
