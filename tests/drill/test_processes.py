"""Replicas that are processes are killed and frozen for real, and found by their port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from toy_relay import Relay

from polyfleet.drill.faults import Fault
from polyfleet.drill.own_gate import free_port
from polyfleet.drill.processes import listener
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Blow, Course, run_drill
from polyfleet.drill.stage import RoutesStage
from polyfleet.terms.route import Route, Routes

MOCK = Path(__file__).resolve().parents[2] / "tools" / "mock_upstream.py"


async def spawn(port: int) -> asyncio.subprocess.Process:
    options = ["--port", str(port), "--gap-ms", "20"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(MOCK), *options, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert b"listening" in await process.stdout.readline()
    return process


Start = Callable[[int], Awaitable[asyncio.subprocess.Process]]


@contextlib.asynccontextmanager
async def kept(count: int, start: Start = spawn) -> AsyncIterator[dict[int, asyncio.subprocess.Process]]:
    """Engines by port; one that dies is started again, as the controller of a fleet does it."""
    running = {port: await start(port) for port in (free_port() for _ in range(count))}

    async def keep(port: int) -> None:
        while True:
            await running[port].wait()
            running[port] = await start(port)

    keepers = [asyncio.create_task(keep(port)) for port in running]
    try:
        yield running
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for process in running.values():
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.FREEZE])
def test_killed_and_frozen_engines_lose_nothing_behind_a_relay_that_resumes(tmp_path: Path, fault: Fault) -> None:
    async def run() -> tuple[DrillReport, int]:
        async with kept(3) as running:
            before = {process.pid for process in running.values()}
            urls = [f"http://127.0.0.1:{port}" for port in running]
            places = tuple(Route(id=f"m-{index}", url=url, served=("mock",)) for index, url in enumerate(urls))
            routes = tmp_path / "routes.json"
            routes.write_text(Routes(routes=places).model_dump_json())
            relay = Relay(urls)
            try:
                stage = RoutesStage(await relay.start(), routes)
                report = await run_drill(stage, Course((Blow(fault),), 12, 40, limit_s=30.0, between=(0.1, 0.2)))
            finally:
                await relay.close()
            return report, len(before - {process.pid for process in running.values()})

    report, replaced = asyncio.run(run())
    assert report.clean, report.rows
    assert report.rows[1].resumed > 0
    assert replaced == (1 if fault is Fault.KILL else 0)


def test_the_process_that_listens_on_a_port_is_found() -> None:
    async def run() -> tuple[int | None, int, int | None]:
        process = await spawn(port := free_port())
        found = listener(port)
        os.kill(process.pid, signal.SIGKILL)
        await process.communicate()
        return found, process.pid, listener(port)

    found, pid, after = asyncio.run(run())
    assert found == pid
    assert after is None
