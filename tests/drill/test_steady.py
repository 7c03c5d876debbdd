"""Strict where the engine is steady, soft where it wavers, and never strict by chance at a client's cost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mock_answer import Dialect
from mock_upstream import Mock
from test_drill import STREAMS, TOKENS, played
from test_play import asked, routes_of, toy_command
from typer.testing import Result
from wavering import OTHER, Wavering

from polyfleet.drill import play
from polyfleet.drill.faults import Fault
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Blow, Course, run_drill

WARM = 8


def wavering(**how: float) -> list[Mock]:
    return [Wavering(Dialect(), gap_ms=2.0, **how) for _ in range(3)]  # type: ignore[arg-type]


def drill(folder: Path, mocks: list[Mock], defect: str | None = None) -> DrillReport:
    async def run() -> DrillReport:
        async with played(folder, defect, mocks=mocks) as (stage, _):
            return await run_drill(stage, Course((Blow(Fault.CUT),), STREAMS, TOKENS, limit_s=20.0, seed=3))

    return asyncio.run(run())


def test_an_engine_that_wavers_is_judged_softly_and_found_clean(tmp_path: Path) -> None:
    report = drill(tmp_path, wavering())
    assert not report.strict
    assert report.clean, report.rows
    assert report.rows[1].resumed > 0


@pytest.mark.parametrize("defect", ["lose", "double", "silent"])
def test_a_defect_is_caught_in_front_of_an_engine_that_wavers_too(tmp_path: Path, defect: str) -> None:
    report = drill(tmp_path, wavering(), defect)
    assert not report.strict
    assert not report.clean


def test_an_engine_that_agreed_with_itself_by_chance_is_not_judged_strictly(tmp_path: Path) -> None:
    """It is steady for the two undisturbed runs and wavers from the first blow on."""
    before = -(-(WARM + 2 * STREAMS) // 3)
    report = drill(tmp_path, wavering(steady_for=before))
    assert not report.strict
    assert report.clean, report.rows
    assert report.rows[1].rounds > 1, "the round that showed it was not played again with sure requests"
    assert report.rows[1].unrepeatable > 0


def test_other_text_from_a_steady_engine_is_wrong(tmp_path: Path) -> None:
    """All three repeat themselves; one goes on with other words than those of the undisturbed answer."""
    mocks: list[Mock] = [Mock(Dialect(), gap_ms=2.0) for _ in range(2)]
    report = drill(tmp_path, [*mocks, Swapping(Dialect(), gap_ms=2.0)])
    assert report.strict
    assert report.rows[1].wrong > 0
    assert OTHER in report.rows[1].details[0]


class Swapping(Wavering):
    """Says other words wherever it goes on with an answer that another one began, and only there."""

    def _say(self, path: str, body: bytes):  # type: ignore[no-untyped-def]
        goes_on = b'"prompt": [' in body or b'"prompt":[' in body
        self.share, self.steady_for = 1.0, -1 if goes_on else 10**9
        return super()._say(path, body)


@pytest.mark.parametrize(("share", "said"), [(0.0, "judged strictly"), (0.5, "judged softly")])
def test_the_report_says_how_it_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, said: str
) -> None:
    monkeypatch.setattr(play, "gate_command", toy_command)

    async def run() -> Result:
        served = [await mock.serve() for mock in wavering(share=share)]
        file = routes_of(tmp_path, [port for _, port in served])
        told = await asyncio.to_thread(asked, "--cut", "1", "--streams", "12", "--tokens", "40", "--routes", str(file))
        for server, _ in served:
            server.close()
        return told

    told = asyncio.run(run())
    assert told.exit_code == 0, told.output
    assert said in told.output
