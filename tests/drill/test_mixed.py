"""A fleet of several engines: what is right is what each of them says itself, and a relay that errs is still caught."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from mock_answer import Dialect
from mock_upstream import Mock
from test_drill import STREAMS, TOKENS, played
from test_gate import llama
from toy_relay import DEFECTS
from vllm_stand_in import stand_in

from polyfleet.drill import referee
from polyfleet.drill.answer import Answer
from polyfleet.drill.asks import Ask
from polyfleet.drill.confirm import right_answer
from polyfleet.drill.direct import Direct
from polyfleet.drill.faults import Fault
from polyfleet.drill.judge import Judgement, Outcome
from polyfleet.drill.mixed import MixedJudge
from polyfleet.drill.play import behind_own_gate
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Blow, Course, run_drill
from polyfleet.errors import LaunchError
from polyfleet.terms.route import Route, Routes

ENDLESS, ENDING = "vllm", "vllm-cpu"
"""Two engines with the same tokens that differ in one thing: when they end an answer."""
Told = list[tuple[Ask, Answer, Judgement]]
TINY = "polyfleet/tiny"


class Heard(MixedJudge):
    """Keeps what it judged."""

    heard: Told

    async def judge(self, asked: Sequence[Ask], answers: Sequence[Answer]) -> list[Judgement]:
        found = await super().judge(asked, answers)
        self.heard += zip(asked, answers, found, strict=True)
        return found


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(Heard, "heard", kept := [], raising=False)
    monkeypatch.setattr(referee, "MixedJudge", Heard)
    return kept


def drill(
    folder: Path, defect: str | None, engines: Sequence[str] = (ENDLESS, ENDING, ENDLESS), rounds: int = 1
) -> DrillReport:
    async def run() -> DrillReport:
        mocks = [Mock(Dialect(end_one_in=12 if engine == ENDING else 0), gap_ms=2.0) for engine in engines]
        async with played(folder, defect, mocks=mocks, engines=engines) as (stage, _):
            blows = (Blow(Fault.CUT, 2),)
            return await run_drill(stage, Course(blows, STREAMS, TOKENS, rounds=rounds, limit_s=20.0, seed=3))

    return asyncio.run(run())


def test_streams_that_went_on_on_another_engine_are_right_as_it_goes_on(tmp_path: Path, heard: Told) -> None:
    report = drill(tmp_path, None, rounds=5)
    assert report.clean, report.rows
    assert report.strict
    assert report.rows[1].unrepeatable == 0
    assert {found.outcome for *_, found in heard} == {Outcome.EQUAL}
    ended = [answer for _, answer, _ in heard if answer.resumed and answer.finish_reason == "stop"]
    assert any(answer.way[0] in routes_of_engine(ENDLESS, tmp_path) for answer in ended), (
        "none went another engine's own way"
    )


def routes_of_engine(engine: str, folder: Path) -> set[str]:
    """Ids of an engine's routes."""
    routes = json.loads((folder / "routes.json").read_text())["routes"]
    return {route["id"] for route in routes if route["engine"] == engine}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_relay_with_a_defect_is_caught_among_several_engines(tmp_path: Path, defect: str) -> None:
    report = drill(tmp_path, defect)
    row = report.rows[1]
    assert report.rows[0].clean
    assert not report.clean
    assert report.strict
    if defect in {"silent", "half"}:
        assert row.failed > 0
        assert row.wrong == 0
    else:
        assert row.failed == 0
        assert row.wrong > 0
        assert "on to http://127.0.0.1" in row.details[0]


def test_an_engine_that_cannot_be_asked_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot ask the engine 'openai'"):
        drill(tmp_path, None, ("vllm", "openai", "openai"))


def test_llama_cpp_and_another_engine_behind_the_gate(tmp_path: Path, heard: Told) -> None:
    async def run() -> tuple[DrillReport, int]:
        async with llama(tmp_path, 2) as ports, stand_in(f"http://127.0.0.1:{ports[1]}") as other:
            routes = (
                Route(id="l", url=f"http://127.0.0.1:{ports[0]}", engine="llama.cpp", served=(TINY,), slots=4),
                Route(id="v", url=other, engine="vllm", served=(TINY,), slots=4),
            )
            file = tmp_path / "mixed.json"
            file.write_text(Routes(routes=routes).model_dump_json())
            course = Course((Blow(Fault.CUT),), 16, 60, rounds=3, limit_s=60.0, between=(0.1, 0.4), seed=1)
            report = await behind_own_gate(file, course)
            return report, await of_neither_engine_alone(routes, heard)

    report, neither = asyncio.run(run())
    assert report.clean, report.rows
    assert report.strict
    assert {answer.way for _, answer, _ in heard} >= {("l",), ("v",), ("l", "v"), ("v", "l")}
    assert neither > 0


async def of_neither_engine_alone(routes: Sequence[Route], heard: Told) -> int:
    """Resumed answers that no engine gives by itself."""
    count = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        engines = [Direct(route.url, route.engine, client) for route in routes]
        for ask, answer, _ in heard:
            if answer.resumed:
                count += answer.text not in {(await right_answer([engine], ask.body)).text for engine in engines}
    return count
