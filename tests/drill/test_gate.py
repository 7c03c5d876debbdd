"""polyfleet's own gate in the drill: replicas die, freeze, are cut, slowed and garbled, and no client loses a token."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_processes import kept, spawn

from polyfleet.drill.faults import Fault
from polyfleet.drill.play import behind_own_gate
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Blow, Course
from polyfleet.terms.route import Route, Routes

EVERY = tuple(Blow(fault) for fault in Fault)


def routes_of(folder: Path, ports: list[int], engine: str, model: str) -> Path:
    file = folder / "routes.json"
    routes = tuple(
        Route(id=f"r-{index}", url=f"http://127.0.0.1:{port}", engine=engine, served=(model,), slots=8)
        for index, port in enumerate(ports)
    )
    file.write_text(Routes(routes=routes).model_dump_json())
    return file


def assert_nothing_lost(report: DrillReport, streams: int) -> None:
    assert [row.fault for row in report.rows] == ["none", *(fault.value for fault in Fault)]
    for row in report.rows:
        assert row.clean, row
        assert row.tokens_lost == row.tokens_doubled == row.unrepeatable == 0
        assert row.streams == streams * row.rounds
        if row.fault not in {"none", "slow"}:
            assert row.resumed > 0, row


def test_mock_engines_with_token_ids(tmp_path: Path) -> None:
    async def run() -> DrillReport:
        async with kept(3, spawn) as running:
            file = routes_of(tmp_path, list(running), "vllm", "mock")
            return await behind_own_gate(file, Course(EVERY, 16, 40, limit_s=60.0, between=(0.1, 0.2)), slow_ms=20.0)

    assert_nothing_lost(asyncio.run(run()), 16)


@pytest.mark.slow
def test_llama_cpp_with_the_tiny_model(tmp_path: Path) -> None:
    async def run() -> DrillReport:
        async with llama(tmp_path, 3) as ports:
            file = routes_of(tmp_path, ports, "llama.cpp", "polyfleet/tiny")
            return await behind_own_gate(file, Course(EVERY, 64, 128, rounds=2, limit_s=120.0, between=(0.1, 0.4)))

    assert_nothing_lost(asyncio.run(run()), 64)


@contextlib.asynccontextmanager
async def llama(folder: Path, count: int) -> AsyncIterator[list[int]]:
    """llama.cpp servers with the tiny model, kept alive."""
    from polyfleet.launch.weights import find_weights

    weights = find_weights("polyfleet/tiny", folder)

    async def start(port: int) -> asyncio.subprocess.Process:
        options = [str(weights), "--port", str(port), "--slots", "4", "--names", "polyfleet/tiny"]
        command = [sys.executable, "-m", "polyfleet.launch.llamacpp_server", *options]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        assert process.stdout is not None
        assert b"listening" in await process.stdout.readline()
        return process

    async with kept(count, start) as running:
        yield list(running)
