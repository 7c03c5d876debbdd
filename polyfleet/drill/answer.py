"""What a client read: put together event by event, with everything that a strict client would refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Handover(NamedTuple):
    """Where the gate says that a stream went on: from one replica to another, after so many tokens of the answer."""

    source: str
    target: str
    at_token: int


@dataclass(slots=True)
class Answer:
    """One stream as its client saw it. `error` says why it is no whole answer (None: it is one).

    `pieces` are the texts of its events, `input_tokens` and `output_tokens` the usage that it was told, `route` the
    replica that began, `resumed` where the gate says that it went on, `retry_after` the header of a refusal, `refusals`
    how often it was asked before to come back later. Times in seconds.
    """

    index: int
    status: int = 0
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    route: str = ""
    resumed: tuple[Handover, ...] = ()
    error: str | None = None
    done: bool = False
    first_s: float | None = None
    longest_gap_s: float = 0.0
    sent_at: float = 0.0
    retry_after: str | None = None
    refusals: int = 0
    _id: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def way(self) -> tuple[str, ...]:
        """The replicas that took part, in their order."""
        first = self.resumed[0].source if self.resumed else self.route
        return (first, *(place.target for place in self.resumed))

    def take(self, event: bytes) -> None:
        """Adds one SSE event (without the blank line after it)."""
        for line in event.splitlines():
            if line.startswith(b":") or not line:
                continue
            if not line.startswith(b"data:"):
                self.fail(f"a line that is no data: {line[:60]!r}")
            elif self.done:
                self.fail("an event after [DONE]")
            elif line[5:].strip() == b"[DONE]":
                self.done = True
            else:
                self._take_data(line[5:])

    def fail(self, reason: str) -> None:
        """Keeps the first reason."""
        self.error = self.error or reason

    def close(self) -> None:
        """To be called at the end of the body: says what is missing."""
        if not self.done:
            self.fail("the stream ended without [DONE]")
        if self.finish_reason is None:
            self.fail("no finish reason came")
        if self.output_tokens is None:
            self.fail("no usage came")

    def _take_data(self, data: bytes) -> None:
        try:
            told = json.loads(data)
            self._take_told(told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.fail(f"an event that is none of OpenAI's ({type(error).__name__}): {data[:80]!r}")

    def _take_told(self, told: dict[str, Any]) -> None:
        if "error" in told:
            self.fail(f"an error event: {json.dumps(told['error'])[:200]}")
            return
        if self._id not in {None, told["id"]}:
            self.fail(f"the id changed from {self._id} to {told['id']}")
        self._id = told["id"]
        for choice in told["choices"]:
            self._take_choice(choice)
        if usage := told.get("usage"):
            self.input_tokens, self.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        if resumed := (told.get("polyfleet") or {}).get("resumed"):
            self.resumed = tuple(
                Handover(str(place["from"]), str(place["to"]), int(place["at_token"])) for place in resumed
            )

    def _take_choice(self, choice: dict[str, Any]) -> None:
        piece = choice["delta"].get("content") if "delta" in choice else choice["text"]
        if piece:
            if self.finish_reason is not None:
                self.fail("text after the finish reason")
            self.pieces.append(piece)
        if reason := choice.get("finish_reason"):
            if self.finish_reason is not None:
                self.fail("a second finish reason")
            self.finish_reason = reason
