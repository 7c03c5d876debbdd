"""The drill itself: an undisturbed run, then the same requests while replicas are struck in mid-stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from polyfleet.drill.answer import Answer
from polyfleet.drill.asks import Ask, asks
from polyfleet.drill.client import read_all
from polyfleet.drill.faults import Fault
from polyfleet.drill.judge import Judgement, Outcome, judge
from polyfleet.drill.report import DrillReport, Row
from polyfleet.drill.stage import Stage
from polyfleet.drill.sure import sure_asks
from polyfleet.errors import LaunchError

_WARM = 8
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault, and how many replicas it strikes at once."""

    fault: Fault
    count: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """How a drill runs: `streams` at once of up to `tokens` output tokens; every blow `rounds` times, each when a share
    of all events has been read that is drawn from `between`. `limit_s`: how long a client waits for its whole answer.
    """

    blows: tuple[Blow, ...]
    streams: int = 64
    tokens: int = 128
    rounds: int = 1
    seed: int = 0
    limit_s: float = 120.0
    between: tuple[float, float] = (0.1, 0.6)


async def run_drill(
    stage: Stage, course: Course, *, model: str | None = None, tell: Callable[[str], None] = lambda _text: None
) -> DrillReport:
    """Plays the course. Raises LaunchError where the undisturbed run fails already, or a replica does not return."""
    model = model or await _first_model(stage)
    report = DrillReport(stage.endpoint, model, course.streams, course.tokens)
    drill = _Drill(stage, course, asks(model, course.streams, course.tokens), random.Random(course.seed))
    tell("undisturbed")
    report.rows.append(await drill.reference())
    for blow in course.blows:
        row = Row(blow.fault.value, blow.count)
        report.rows.append(row)
        for number in range(course.rounds):
            tell(f"{blow.fault} {blow.count}, round {number + 1} of {course.rounds}")
            await drill.round_that_strikes(blow, row)
    return report


class _Drill:
    def __init__(self, stage: Stage, course: Course, asked: list[Ask], chance: random.Random) -> None:
        self._stage, self._course, self._asked, self._chance = stage, course, asked, chance
        self._right: list[Answer] = []
        self._events = 0

    async def reference(self) -> Row:
        """Two undisturbed runs: the first is what is right, the second shows whether the engine repeats itself.

        A few requests go before, so that a gate that has just been started knows how fast its replicas are; then all
        are cut to the part of their answers that has no second right one.
        """
        await self._read(self._asked[:_WARM])
        stage, limit_s = self._stage, self._course.limit_s
        self._asked = await sure_asks(stage.endpoint, self._asked, key=stage.key, limit_s=limit_s)
        count = _Count()
        self._right = await self._read(self._asked, count)
        for answer in self._right:
            if answer.error is not None:
                raise LaunchError(f"undisturbed, stream {answer.index} failed: {answer.error}")
        self._events = count.seen
        again = await self._read(self._asked)
        judgements = [judge(right, answer) for right, answer in zip(self._right, again, strict=True)]
        row = Row("none", 0)
        row.add(again, judgements, {found.index for found in judgements if found.outcome is not Outcome.FAILED})
        row.longest_gap_s = max(answer.longest_gap_s for answer in (*self._right, *again))
        return row

    async def round_that_strikes(self, blow: Blow, row: Row) -> None:
        """A round that struck between two streams shows nothing: it counts, and another is played."""
        before = row.resumed
        for _ in range(_TRIES):
            await self.round(blow, row)
            if blow.fault is Fault.SLOW or row.resumed > before:
                return

    async def round(self, blow: Blow, row: Row) -> None:
        """One run with one blow."""
        count = _Count(int(self._events * self._chance.uniform(*self._course.between)))
        striking = asyncio.create_task(self._strike(blow, count.reached))
        try:
            answers = await self._read(self._asked, count)
        finally:
            count.reached.set()
            await striking
            await self._stage.heal()
        judgements = [judge(right, answer) for right, answer in zip(self._right, answers, strict=True)]
        row.add(answers, judgements, await self._unrepeatable(answers, judgements))

    async def _strike(self, blow: Blow, reached: asyncio.Event) -> None:
        await reached.wait()
        await self._stage.strike(blow.fault, blow.count, self._chance)

    async def _unrepeatable(self, answers: Sequence[Answer], judgements: Sequence[Judgement]) -> set[int]:
        """Streams whose answer the undisturbed fleet gives too: alone, or again among all."""
        open_ = [found.index for found in judgements if found.outcome in {Outcome.CHANGED, Outcome.MISCOUNTED}]
        if not open_:
            return set()
        crowd = await self._read(self._asked)
        alone = [(await self._read([self._asked[index]]))[0] for index in open_]
        same = {index for index in open_ if judge(crowd[index], answers[index]).outcome is Outcome.EQUAL}
        return same | {one.index for one in alone if judge(one, answers[one.index]).outcome is Outcome.EQUAL}

    async def _read(self, asked: list[Ask], count: _Count | None = None) -> list[Answer]:
        stage = self._stage
        return await read_all(stage.endpoint, asked, key=stage.key, limit_s=self._course.limit_s, seen=count)


class _Count:
    """Counts events over all streams; `reached` is set at the `at`-th."""

    def __init__(self, at: int | None = None) -> None:
        self.seen, self._at, self.reached = 0, at, asyncio.Event()

    def __call__(self, index: int) -> None:  # noqa: ARG002
        self.seen += 1
        if self._at is not None and self.seen >= self._at:
            self.reached.set()


async def _first_model(stage: Stage) -> str:
    headers = {"Authorization": f"Bearer {stage.key}"} if stage.key else {}
    try:
        async with aiohttp.ClientSession(headers=headers) as client, client.get(stage.endpoint + "/v1/models") as told:
            told.raise_for_status()
            models = (await told.json())["data"]
    except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
        raise LaunchError(f"{stage.endpoint} does not list its models: {error}") from None
    if not models:
        raise LaunchError(f"{stage.endpoint} serves no model")
    return str(models[0]["id"])
