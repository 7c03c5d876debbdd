"""What the clients of a drill saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from polyfleet.drill.answer import Answer
from polyfleet.drill.judge import Judgement, Outcome

_DETAILS = 5


@dataclass(slots=True)
class Row:
    """One fault, all its rounds. Counts are streams, tokens where they say so; times in seconds.

    `unrepeatable` are answers that differ from the reference where the engine itself gives this answer too when it is
    asked again undisturbed; they are not judged. `refusals` are requests that a full fleet asked to come back.
    """

    fault: str
    struck: int
    rounds: int = 0
    streams: int = 0
    failed: int = 0
    wrong: int = 0
    tokens_lost: int = 0
    tokens_doubled: int = 0
    resumed: int = 0
    refusals: int = 0
    unrepeatable: int = 0
    longest_gap_s: float = 0.0
    details: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Every client read the whole, right answer."""
        return not (self.failed or self.wrong)

    def add(self, answers: Sequence[Answer], judgements: Sequence[Judgement], unrepeatable: set[int]) -> None:
        """Adds one round."""
        self.rounds += 1
        self.streams += len(answers)
        self.resumed += sum(bool(answer.resumed) for answer in answers)
        self.refusals += sum(answer.refusals for answer in answers)
        self.longest_gap_s = max(self.longest_gap_s, *(answer.longest_gap_s for answer in answers))
        for judgement in judgements:
            if judgement.outcome is Outcome.EQUAL:
                continue
            if judgement.index in unrepeatable:
                self.unrepeatable += 1
                continue
            self.failed += judgement.outcome is Outcome.FAILED
            self.wrong += judgement.outcome is not Outcome.FAILED
            self.tokens_lost += judgement.tokens_lost
            self.tokens_doubled += judgement.tokens_doubled
            if len(self.details) < _DETAILS:
                self.details.append(f"stream {judgement.index}: {judgement.outcome}: {judgement.detail}")


@dataclass(slots=True)
class DrillReport:
    """All rows; the first is the undisturbed run. `strict`: two undisturbed runs agreed in every answer, so that any
    other answer is wrong. Else the engine wavers: requests were cut before the first unsure token, and an answer that
    the engine gives undisturbed, too, is told and not judged."""

    endpoint: str
    model: str
    streams: int
    tokens: int
    strict: bool = True
    rows: list[Row] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(row.clean for row in self.rows)

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "clean": self.clean}
