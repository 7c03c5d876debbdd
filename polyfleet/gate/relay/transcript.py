"""What a stream has said so far, read out of its raw events only when somebody must know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from polyfleet.gate.http.sse import DONE, payloads


class Piece(NamedTuple):
    """What one event of an engine says.

    `ids` of the tokens that it came with; `made` tokens the engine has made so far where it says so (more than the ids
    seen: some were not told). `logprobs` per token in the chat form. `beyond`: it says something that text and ids do
    not carry (a tool call, reasoning). `error` the message of an error event.
    """

    text: str = ""
    ids: tuple[int, ...] = ()
    made: int | None = None
    finish: str | None = None
    logprobs: list[dict[str, Any]] | None = None
    usage: dict[str, Any] | None = None
    prompt_ids: tuple[int, ...] | None = None
    beyond: bool = False
    error: str | None = None


class EventReader(Protocol):
    """Reads one event of an engine."""

    def __call__(self, event: dict[str, Any]) -> Piece: ...


@dataclass
class Hole:
    """Tokens that an engine made and did not tell: `missing` of them, before `ids[at]`, within `text`, which the ids up
    to and with `ids[at]` spell."""

    at: int
    missing: int
    text: str


@dataclass
class Transcript:
    """One client's stream over all its legs.

    `covered` are the ids whose text has been said: those beyond have no text yet (half a character, an end of
    sequence, text held back for a stop string). `watched`: the present leg was asked for no stop strings, the gate
    watches for them. `merged`: an event said several tokens, of which the last may be said in part.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    covered: int = 0
    holes: list[Hole] = field(default_factory=list)
    prompt_ids: tuple[int, ...] | None = None
    head: dict[str, Any] = field(default_factory=dict)
    finish: str | None = None
    usage: dict[str, Any] | None = None
    beyond: bool = False
    done: bool = False
    error: str | None = None
    watched: bool = False
    merged: bool = False
    _untold: int = 0
    _start: int = 0

    def new_leg(self) -> None:
        """Another replica goes on; its counts start from 0."""
        self._start, self._untold = len(self.ids), 0

    def feed(self, raw: bytes, read: EventReader) -> None:
        """Whole events of the present leg."""
        for data in payloads(raw):
            if data == DONE:
                self.done = True
                continue
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError:
                continue
            if isinstance(event, dict):
                if not self.head:
                    self.head = {name: event[name] for name in _HEAD if name in event}
                self.add(read(event))

    def add(self, piece: Piece) -> None:
        if piece.prompt_ids is not None and self.prompt_ids is None:
            self.prompt_ids = piece.prompt_ids
        if piece.made is not None and piece.ids:
            missing = piece.made - (len(self.ids) - self._start) - self._untold - len(piece.ids)
            if missing > 0:
                self.holes.append(Hole(len(self.ids), missing, piece.text))
                self._untold += missing
        self.ids.extend(piece.ids)
        self.merged = self.merged or len(piece.ids) > 1
        if piece.text:
            self.text += piece.text
            self.covered = len(self.ids)
        self.finish = piece.finish or self.finish
        self.usage = piece.usage or self.usage
        self.beyond = self.beyond or piece.beyond
        self.error = self.error or piece.error

    @property
    def made(self) -> int:
        """Tokens known to have been made."""
        return len(self.ids) + sum(hole.missing for hole in self.holes)


_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
