"""The drill against mock replicas: it passes a relay that resumes right, and catches every one that does not."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from mock_answer import Dialect
from mock_upstream import Mock
from toy_relay import DEFECTS, Relay

from polyfleet.drill.faults import Fault
from polyfleet.drill.proxy import FaultProxy
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Blow, Course, run_drill
from polyfleet.drill.stage import RoutesStage
from polyfleet.terms.route import Route, Routes

STREAMS, TOKENS = 12, 40


@contextlib.asynccontextmanager
async def played(
    folder: Path, defect: str | None, *, mocks: Sequence[Mock] = (), engines: Sequence[str] = ("openai",) * 3
) -> AsyncIterator[tuple[RoutesStage, Relay]]:
    """Three mock replicas, a proxy before each, and the relay in front."""
    mocks = mocks or [Mock(Dialect(end_one_in=90), gap_ms=2.0) for _ in range(3)]
    servers = [await mock.serve() for mock in mocks]
    urls = [f"http://127.0.0.1:{port}" for _, port in servers]
    proxies = {url: FaultProxy(url, slow_ms=5.0, seed=index) for index, url in enumerate(urls)}
    names = {await proxy.start(): url for url, proxy in proxies.items()}
    relay = Relay(list(names), defect, names)
    routes = folder / "routes.json"
    named = zip(urls, engines, strict=True)
    made = tuple(Route(id=url, url=url, engine=engine, served=("mock",)) for url, engine in named)
    routes.write_text(Routes(routes=made).model_dump_json())
    try:
        yield RoutesStage(await relay.start(), routes, proxies=proxies), relay
    finally:
        await relay.close()
        for proxy in proxies.values():
            await proxy.close()
        for server, _ in servers:
            server.close()


def drill(folder: Path, fault: Fault, defect: str | None = None) -> tuple[DrillReport, Relay]:
    async def run() -> tuple[DrillReport, Relay]:
        async with played(folder, defect) as (stage, relay):
            course = Course((Blow(fault),), STREAMS, TOKENS, limit_s=20.0, seed=3)
            return await run_drill(stage, course), relay

    return asyncio.run(run())


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.GARBLE, Fault.SLOW])
def test_a_relay_that_resumes_right_passes(tmp_path: Path, fault: Fault) -> None:
    report, relay = drill(tmp_path, fault)
    assert [row.fault for row in report.rows] == ["none", fault.value]
    assert report.clean, report.rows
    assert report.strict
    assert report.rows[1].streams == STREAMS
    assert report.rows[1].unrepeatable == 0
    if fault is not Fault.SLOW:
        assert relay.resumes > 0
        assert report.rows[1].resumed > 0


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_relay_with_a_defect_is_caught(tmp_path: Path, defect: str) -> None:
    report, relay = drill(tmp_path, Fault.CUT, defect)
    row = report.rows[1]
    assert report.rows[0].clean
    assert not report.clean
    assert report.strict
    assert row.details
    if defect in {"silent", "half"}:
        assert row.failed > 0
        assert row.wrong == 0
    else:
        assert row.failed == 0
        assert row.wrong == row.resumed == relay.resumes
    assert (row.tokens_lost > 0) == (defect == "lose")
    assert (row.tokens_doubled > 0) == (defect == "double")


def test_as_many_tokens_as_were_lost_are_counted(tmp_path: Path) -> None:
    report, relay = drill(tmp_path, Fault.CUT, "lose")
    assert report.rows[1].tokens_lost == relay.resumes


def test_a_blow_that_leaves_no_replica_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with played(tmp_path, None) as (stage, _):
            await stage.strike(Fault.CUT, 3, random.Random(0))

    with pytest.raises(Exception, match="3 of 3 replicas leave none"):
        asyncio.run(run())
