"""llama.cpp: its OpenAI routes tell ids only within logprobs, and the count of tokens only with timings.

One event may stand for several tokens and tells the last one's id only (half characters, text held back for a stop
string); the counts tell how many are missing (`Hole`).
"""

from __future__ import annotations

from typing import Any

import orjson

from polyfleet.gate.engines.base import Call, Continuation, carried, read_openai
from polyfleet.gate.engines.openai import asking_usage
from polyfleet.gate.http.sse import data_of, event_of, split_events
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.gate.relay.transcript import Piece

_OPENAI_SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""What OpenAI's API means where the client says nothing; llama.cpp's own defaults are others (0.8, 0.95, 40, 0.05)."""


class LlamaCpp:
    """See Engine."""

    health_path: str | None = "/health"
    resumes = True
    completion_limit: int | None = None
    holds_text = False

    def armed(self, asked: Asked) -> dict[str, Any]:
        if asked.kind not in {Kind.CHAT, Kind.COMPLETIONS}:
            return {}
        extra = self.plain(asked)
        if asked.not_resumable is not None:
            return extra | asking_usage(asked)
        if not asked.wants_logprobs:
            extra |= {"logprobs": True, "top_logprobs": 1} if asked.kind is Kind.CHAT else {"logprobs": 1}
        return extra | asking_usage(asked) | {"timings_per_token": True}

    def plain(self, asked: Asked) -> dict[str, Any]:
        if asked.kind not in {Kind.CHAT, Kind.COMPLETIONS}:
            return {}
        return {name: value for name, value in _OPENAI_SAMPLING.items() if name not in asked.fields}

    def clean(self, raw: bytes, asked: Asked) -> bytes:
        if asked.not_resumable is not None:
            return raw
        keep_logprobs, keep_timings = asked.wants_logprobs, bool(asked.fields.get("timings_per_token"))
        out = []
        for event in split_events(raw):
            data = data_of(event)
            if data is None or not data.startswith(b"{"):
                out.append(event)
                continue
            told = orjson.loads(data)
            choices = told.get("choices")
            if choices and choices[0].get("finish_reason") is None and not keep_timings:
                told.pop("timings", None)
            if choices and not keep_logprobs and "logprobs" in choices[0]:
                _without_logprobs(choices[0])
            out.append(event_of(orjson.dumps(told)))
        return b"".join(out)

    def read(self, event: dict[str, Any]) -> Piece:
        piece = read_openai(event)
        choices = event.get("choices")
        logprobs = choices[0].get("logprobs") if choices else None
        rows = logprobs.get("content") if isinstance(logprobs, dict) else None
        if not rows:
            return piece
        timings = event.get("timings")
        count = timings.get("predicted_n") if isinstance(timings, dict) else None
        return piece._replace(ids=tuple(row["id"] for row in rows), made=count, logprobs=rows)

    def read_native(self, event: dict[str, Any]) -> Piece:
        """One event of `/completion`."""
        if "error" in event:
            return read_openai(event)
        made = event.get("tokens_predicted")
        if not event.get("stop"):
            return Piece(
                text=event.get("content", ""),
                ids=tuple(event.get("tokens") or ()),
                made=made,
                logprobs=event.get("completion_probabilities"),
            )
        asked = event.get("tokens_evaluated", 0)
        usage = {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
        finish = "length" if event.get("stop_type") == "limit" else "stop"
        return Piece(text=event.get("content", ""), ids=tuple(event.get("tokens") or ()), finish=finish, usage=usage)

    def why_not(self, asked: Asked) -> str | None:  # noqa: ARG002 - as the protocol says
        return None

    async def prompt_ids(self, call: Call, asked: Asked, model: str) -> tuple[int, ...]:  # noqa: ARG002 - as the protocol says
        prompt = asked.fields.get("prompt")
        if asked.kind is Kind.CHAT:
            fields = {name: value for name, value in asked.fields.items() if name not in {"stream", "logprobs"}}
            prompt = (await call("/apply-template", fields))["prompt"]
        elif isinstance(prompt, list):
            return tuple(prompt)
        answer = await call("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})
        return tuple(answer["tokens"])

    async def ids_of(self, call: Call, text: str, model: str) -> list[int]:  # noqa: ARG002 - as the protocol says
        return list((await call("/tokenize", {"content": text, "add_special": False}))["tokens"])

    async def text_of(self, call: Call, ids: list[int], model: str) -> str:  # noqa: ARG002 - as the protocol says
        return str((await call("/detokenize", {"tokens": ids}))["content"])

    async def go_on(self, call: Call, asked: Asked, model: str, ids: list[int], left: int | None) -> Continuation:  # noqa: ARG002 - as the protocol says
        body = _OPENAI_SAMPLING | carried(asked)
        body |= {"prompt": ids, "n_predict": -1 if left is None else left, "stream": True, "return_tokens": True}
        if asked.wants_logprobs:
            given = asked.fields.get("top_logprobs") if asked.kind is Kind.CHAT else asked.fields["logprobs"]
            body["n_probs"] = max(1, int(given or 1))
        return Continuation("/completion", body, self.read_native)


def _without_logprobs(choice: dict[str, Any]) -> None:
    """As llama.cpp answers who did not ask: completions say null, chat says nothing."""
    if "text" in choice:
        choice["logprobs"] = None
    else:
        del choice["logprobs"]
