"""Going on with a stream on another replica: from where, with what, and how it looks to the client.

The client has `transcript.text`. Tokens whose text it has not seen are made again (they are the other replica's to
choose; greedy ones come out the same); tokens whose text it has seen are handed over as ids, never as text, which
tokenises differently in 3 to 5 of 100 cases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from polyfleet.gate.engines.base import Call, Engine
from polyfleet.gate.http.sse import event_of
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.gate.relay.stops import StopWatch
from polyfleet.gate.relay.transcript import Hole, Piece, Transcript

DONE_EVENT = event_of(b"[DONE]")
_CONTEXT = 8
"""Ids of the prompt that go before an answer's when these are made text: the first word's blank depends on them."""


class CannotResume(Exception):
    """Why this stream cannot go on."""


async def settle(transcript: Transcript, dead: Engine, live: Engine, call: Call, asked: Asked, model: str) -> str:
    """Leaves in `transcript.ids` exactly the ids whose text has been said; gives the text of them beyond that.

    That text is not empty only where an engine held text back, and the last token seen by the client was seen in part.
    Raises CannotResume, UpstreamFailed.
    """
    if transcript.prompt_ids is None:
        transcript.prompt_ids = await live.prompt_ids(call, asked, model)
    if transcript.holes:
        await _fill_holes(transcript, live, call, model)
    if dead.holds_text and (transcript.merged or (asked.stop and not transcript.watched)):
        carry = await _cut_to_text(transcript, live, call, model)
        if carry is not None:
            return carry
        if asked.stop and not transcript.watched:
            raise CannotResume("the ids do not spell the text that was said")
    del transcript.ids[transcript.covered :]
    return ""


async def _fill_holes(transcript: Transcript, live: Engine, call: Call, model: str) -> None:
    """Ids that were not told are found by tokenising the text of their event: right where the count and the last id
    are right. Else that event and all after it would rest on a guess."""
    for hole in reversed(transcript.holes):
        ids = await _hole_ids(hole, transcript.ids[hole.at], live, call, model)
        transcript.ids[hole.at : hole.at + 1] = ids
        transcript.covered += len(ids) - 1
    transcript.holes.clear()


async def _hole_ids(hole: Hole, last: int, live: Engine, call: Call, model: str) -> list[int]:
    found = await live.ids_of(call, hole.text, model)
    for ids in (found, found[-hole.missing - 1 :]):  # some tokenizers begin any text with a blank of their own
        if len(ids) == hole.missing + 1 and ids[-1] == last:
            return ids
    raise CannotResume("the engine did not tell all tokens, and its text does not tell them")


async def _cut_to_text(transcript: Transcript, live: Engine, call: Call, model: str) -> str | None:
    """Keeps the fewest ids whose text covers what was said; gives what they say beyond it. None: they spell another."""
    context = list(transcript.prompt_ids or ())[-_CONTEXT:]
    before = await live.text_of(call, context, model) if context else ""

    async def text(count: int) -> str:
        return (await live.text_of(call, context + transcript.ids[:count], model))[len(before) :]

    said = transcript.text
    low, high = 0, len(transcript.ids)  # text grows with the ids: the fewest are found by halving
    while low < high:
        middle = (low + high) // 2
        if len(await text(middle)) >= len(said):
            high = middle
        else:
            low = middle + 1
    now = await text(high)
    for _ in range(_CONTEXT):  # half a character counts as one or more: the rest of it is in the next tokens
        if now.startswith(said) or high == len(transcript.ids):
            break
        high += 1
        now = await text(high)
    if not now.startswith(said):
        return None
    del transcript.ids[high:]
    transcript.text, transcript.covered = now, high
    return now[len(said) :]


@dataclass
class Continued:
    """The rest of a stream, as the client sees it: events in the first replica's name, whatever engine makes them.

    `before` tokens were made by earlier legs. `log` says where it was handed over. `muted`: only the counts are wanted.
    `told` tokens were told with their ids or logprobs, some perhaps before their text. `last` tokens came in one event
    with the end.
    """

    asked: Asked
    transcript: Transcript
    watch: StopWatch
    log: list[dict[str, Any]] = field(default_factory=list)
    before: int = 0
    said: int = 0
    finish: str | None = None
    usage: dict[str, Any] | None = None
    muted: bool = False
    told: int = 0
    last: int = 0

    def carry(self, text: str) -> bytes:
        """Text that an earlier leg made and did not say."""
        return self._say(out, ()) if text and (out := self.watch.feed(text)) else b""

    def handed_over(self, source: str, target: str) -> None:
        """A leg begins after `transcript.ids`."""
        self.transcript.new_leg()
        self.transcript.watched = True
        self.before = len(self.transcript.ids)
        self.log.append({"from": source, "to": target, "at_token": self.before, "at_character": self.said})

    def feed(self, piece: Piece) -> bytes:
        """Events for one piece of the new leg. Once `finish` is set, nothing more is to come."""
        transcript = self.transcript
        seen = max(0, self.told - len(transcript.ids))  # what is made again, and was told before
        transcript.add(piece)
        self.told, self.last = max(self.told, len(transcript.ids)), len(piece.ids)
        rows = piece.logprobs[seen:] if piece.logprobs and self.asked.wants_logprobs else None
        ids = piece.ids[seen:] if self.asked.wants_ids else ()
        out = self.watch.feed(piece.text)
        said = self._say(out, ids, rows) if out or rows or ids else b""
        if self.watch.hit is not None:
            self.finish = "stop"
            self._count(transcript.made)
        elif piece.finish is not None:
            rest = self.watch.flush()
            said += self._say(rest, ()) if rest else b""
            self.finish = piece.finish
        if piece.usage is not None:
            made = int(piece.usage.get("completion_tokens") or 0)
            self._count(self.before + made)
        return said

    def nothing_left(self, reason: str) -> bytes:
        """The limit had been reached at the cut: only the end was missing."""
        rest = self.watch.flush()
        self.finish = reason
        self._count(len(self.transcript.ids))
        return self._say(rest, ()) if rest else b""

    async def count_to_stop(self, live: Engine, call: Call, model: str) -> None:
        """Where several tokens came with a stop string in one event: those after it were not the answer's."""
        ids, context = self.transcript.ids, list(self.transcript.prompt_ids or ())[-_CONTEXT:]
        if self.watch.hit is None or self.last < 2:
            return
        for count in range(len(ids) - self.last + 1, len(ids)):
            if self.watch.hit in (await live.text_of(call, context + ids[max(0, self.before - 64) : count], model)):
                self._count(count)
                return

    def end(self) -> bytes:
        """The last events, `[DONE]` included."""
        if self.usage is None:
            self._count(self.transcript.made)
        choice: dict[str, Any] = {"index": 0}
        choice["delta" if self.asked.kind is Kind.CHAT else "text"] = {} if self.asked.kind is Kind.CHAT else ""
        choice |= {"logprobs": None, "finish_reason": self.finish or "stop"}
        told = {**self.transcript.head, "choices": [choice]}
        if self.log:
            told["polyfleet"] = {"resumed": self.log}
        out = event_of(orjson.dumps(told))
        if self.asked.wants_usage:
            usage = self.usage or {}
            out += usage_event(self.transcript.head, usage["prompt_tokens"], usage["completion_tokens"])
        return out + DONE_EVENT

    def _count(self, completion: int) -> None:
        self.usage = {"prompt_tokens": len(self.transcript.prompt_ids or ()), "completion_tokens": completion}

    def _say(self, text: str, ids: tuple[int, ...], rows: list[dict[str, Any]] | None = None) -> bytes:
        if self.muted:
            return b""
        choice: dict[str, Any] = {"index": 0}
        choice |= {"delta": {"content": text}} if self.asked.kind is Kind.CHAT else {"text": text}
        choice["logprobs"] = self._logprobs(rows) if rows else None
        choice["finish_reason"] = None
        if self.asked.wants_ids:
            choice["token_ids"] = list(ids)
        self.said += len(text)
        return event_of(orjson.dumps({**self.transcript.head, "choices": [choice]}))

    def _logprobs(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        if self.asked.kind is Kind.CHAT:
            return {"content": rows}
        offsets, at = [], self.said
        for row in rows:
            offsets.append(at)
            at += len(row["token"])
        return {
            "tokens": [row["token"] for row in rows],
            "token_logprobs": [row["logprob"] for row in rows],
            "top_logprobs": [{top["token"]: top["logprob"] for top in row["top_logprobs"]} for row in rows],
            "text_offset": offsets,
        }


def usage_event(head: dict[str, Any], prompt: int, completion: int) -> bytes:
    """The event that OpenAI's streams tell usage in."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return event_of(orjson.dumps({**head, "choices": [], "usage": usage}))
