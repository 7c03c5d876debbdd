"""What the right answers of a drill are, and what is to be thought of others."""

from __future__ import annotations

from collections.abc import Sequence

from polyfleet.drill.answer import Answer
from polyfleet.drill.asks import Ask
from polyfleet.drill.client import Audience, read_all
from polyfleet.drill.judge import Judgement, Outcome, judge
from polyfleet.drill.mixed import MixedJudge, engines_of
from polyfleet.drill.report import Row
from polyfleet.drill.stage import Stage
from polyfleet.drill.sure import sure_asks
from polyfleet.errors import LaunchError

_WARM = 8
_ENOUGH = 64
"""Undisturbed answers that must be as before, before an answer of a strict drill counts as wrong."""
_OPEN = {Outcome.CHANGED, Outcome.MISCOUNTED}
"""Something else was read, and nothing less or more: it may be the engine that wavers."""


class Referee:
    """`asked`: the requests; `events` in an undisturbed run; `undisturbed`: the row of those runs.

    Where one engine serves the model, the first undisturbed run is what is right. Where several do, the engines are
    asked themselves (`MixedJudge`). `strict`: two undisturbed runs agreed in every answer: each has one right answer.
    """

    def __init__(self, stage: Stage, model: str, asked: list[Ask], limit_s: float) -> None:
        self._stage, self._limit_s, self.asked = stage, limit_s, asked
        mixed = len(engines_of(stage.routes(), model)) > 1
        self._mixed = MixedJudge(stage.routes, model, limit_s) if mixed else None
        self._right: list[Answer] = []
        self.events = 0
        self.strict = True
        self.undisturbed = Row("none", 0)

    async def learn(self) -> None:
        """Finds out what is right. Raises LaunchError where an undisturbed answer fails.

        A few requests go before, so that a gate that has just been started knows how fast its replicas are. Where the
        engine wavers, the requests are cut to the part of their answers that has no second right one.
        """
        await self.read(self.asked[:_WARM])
        await self._two_runs()
        if self.undisturbed.unrepeatable:
            await self.soften()

    async def soften(self) -> None:
        """The engine wavers: requests that are sure, and two runs of these."""
        self.strict = False
        self.asked = await sure_asks(self._stage.endpoint, self.asked, key=self._stage.key, limit_s=self._limit_s)
        await self._two_runs()

    async def read(self, asked: list[Ask], seen: Audience | None = None) -> list[Answer]:
        """The answers of the gate to these requests, all at once."""
        return await read_all(self._stage.endpoint, asked, key=self._stage.key, limit_s=self._limit_s, seen=seen)

    async def judge(self, answers: Sequence[Answer]) -> list[Judgement]:
        """One judgement for each request's answer."""
        if self._mixed is not None:
            return await self._mixed.judge(self.asked, answers)
        return [judge(right, answer) for right, answer in zip(self._right, answers, strict=True)]

    async def is_steady(self) -> bool:
        """Still: undisturbed, every answer is as before. Asked before a strict drill counts an answer as wrong, since
        an engine that wavers rarely may have agreed with itself twice by chance."""
        compared = 0
        while compared < _ENOUGH:
            answers = await self.read(self.asked)
            if wrong_of(await self.judge(answers)):
                return False
            compared += len(answers)
        return True

    async def unrepeatable(self, answers: Sequence[Answer], judgements: Sequence[Judgement]) -> set[int]:
        """Of a fleet that wavers: streams whose answer it gives undisturbed too, alone or again among all."""
        open_ = [found.index for found in judgements if found.outcome in _OPEN]
        if self.strict or not open_:
            return set()
        same = await self._as_engines_say_now(answers, open_) if self._mixed is not None else set()
        crowd = await self.read(self.asked)
        alone = [(await self.read([self.asked[index]]))[0] for index in open_]
        same |= {index for index in open_ if judge(crowd[index], answers[index]).outcome is Outcome.EQUAL}
        return same | {one.index for one in alone if judge(one, answers[one.index]).outcome is Outcome.EQUAL}

    async def _as_engines_say_now(self, answers: Sequence[Answer], open_: list[int]) -> set[int]:
        assert self._mixed is not None
        self._mixed.forget()
        found = await self._mixed.judge([self.asked[index] for index in open_], [answers[index] for index in open_])
        return {one.index for one in found if one.outcome is Outcome.EQUAL}

    async def _two_runs(self) -> None:
        events = _Events()
        self._right = await self.read(self.asked, events)
        for answer in self._right:
            if answer.error is not None:
                raise LaunchError(f"undisturbed, stream {answer.index} failed: {answer.error}")
        self.events = events.seen
        again = await self.read(self.asked)
        row = Row("none", 0)
        for answers in (self._right, again) if self._mixed is not None else (again,):
            found = await self.judge(answers)
            row.add(answers, found, wrong_of(found))
        row.longest_gap_s = max(answer.longest_gap_s for answer in (*self._right, *again))
        self.undisturbed = row


def wrong_of(judgements: Sequence[Judgement]) -> set[int]:
    """Streams whose answer is whole and not the right one."""
    return {found.index for found in judgements if found.outcome not in {Outcome.EQUAL, Outcome.FAILED}}


class _Events:
    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, index: int) -> None:  # noqa: ARG002 - as the protocol says
        self.seen += 1
