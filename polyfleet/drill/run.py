"""The drill itself: an undisturbed run, then the same requests while replicas are struck in mid-stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from polyfleet.drill.asks import asks
from polyfleet.drill.faults import Fault
from polyfleet.drill.referee import Referee, wrong_of
from polyfleet.drill.report import DrillReport, Row
from polyfleet.drill.stage import Stage
from polyfleet.errors import LaunchError

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
    model = model or await _widest_model(stage)
    report = DrillReport(stage.endpoint, model, course.streams, course.tokens)
    referee = Referee(stage, model, asks(model, course.streams, course.tokens), course.limit_s)
    tell("undisturbed")
    await referee.learn()
    drill = _Drill(stage, course, referee)
    for blow in course.blows:
        row = Row(blow.fault.value, blow.count)
        report.rows.append(row)
        for number in range(course.rounds):
            tell(f"{blow.fault} {blow.count}, round {number + 1} of {course.rounds}")
            await drill.round_that_strikes(blow, row)
    report.rows.insert(0, referee.undisturbed)
    report.strict = referee.strict
    return report


class _Drill:
    def __init__(self, stage: Stage, course: Course, referee: Referee) -> None:
        self._stage, self._course, self._referee = stage, course, referee
        self._chance = random.Random(course.seed)

    async def round_that_strikes(self, blow: Blow, row: Row) -> None:
        """A round that struck between two streams shows nothing: it counts, and another is played. So does one that
        showed that the engine wavers, after all."""
        for _ in range(_TRIES):
            before, strict = row.resumed, self._referee.strict
            await self.round(blow, row)
            if self._referee.strict is strict and (blow.fault is Fault.SLOW or row.resumed > before):
                return

    async def round(self, blow: Blow, row: Row) -> None:
        """One run with one blow."""
        referee, share = self._referee, self._chance.uniform(*self._course.between)
        count = _Count(int(referee.events * share))
        striking = asyncio.create_task(self._strike(blow, count.reached))
        try:
            answers = await referee.read(referee.asked, count)
        finally:
            count.reached.set()
            await striking
            await self._stage.heal()
        judgements = await referee.judge(answers)
        wrong = wrong_of(judgements)
        if referee.strict and wrong and not await referee.is_steady():
            row.add(answers, judgements, wrong)
            await referee.soften()
        else:
            row.add(answers, judgements, await referee.unrepeatable(answers, judgements))

    async def _strike(self, blow: Blow, reached: asyncio.Event) -> None:
        await reached.wait()
        await self._stage.strike(blow.fault, blow.count, self._chance)


class _Count:
    """Counts events over all streams; `reached` is set at the `at`-th."""

    def __init__(self, at: int) -> None:
        self._seen, self._at, self.reached = 0, at, asyncio.Event()

    def __call__(self, index: int) -> None:  # noqa: ARG002 - as the protocol says
        self._seen += 1
        if self._seen >= self._at:
            self.reached.set()


async def _widest_model(stage: Stage) -> str:
    """Of the models that the gate lists, the first that most replicas serve."""
    served = await _models(stage)
    routes = stage.routes().routes
    return max(served, key=lambda name: sum(name in route.served for route in routes))


async def _models(stage: Stage) -> list[str]:
    headers = {"Authorization": f"Bearer {stage.key}"} if stage.key else {}
    try:
        async with aiohttp.ClientSession(headers=headers) as client, client.get(stage.endpoint + "/v1/models") as told:
            told.raise_for_status()
            models = (await told.json())["data"]
    except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
        raise LaunchError(f"{stage.endpoint} does not list its models: {error}") from None
    if not models:
        raise LaunchError(f"{stage.endpoint} serves no model")
    return [str(model["id"]) for model in models]
