"""vLLM: `return_token_ids` gives the ids of every event and, in the first, the prompt's."""

from __future__ import annotations

import re
from typing import Any

from polyfleet.gate.engines.base import Call, Continuation, carried, read_openai
from polyfleet.gate.engines.openai import asking_usage
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.gate.relay.transcript import Piece

_IDS = re.compile(rb',"(?:prompt_)?token_ids":(?:null|\[[0-9, ]*\])|"(?:prompt_)?token_ids":(?:null|\[[0-9, ]*\]),')
"""Within a JSON string every quote is escaped, so that text can never look like this."""


_FIRST_BYTES = 4096
"""The prompt's ids come with the first event."""


class Vllm:
    """See Engine."""

    health_path: str | None = "/health"
    resumes = True
    completion_limit: int | None = 16
    holds_text = True

    def armed(self, asked: Asked) -> dict[str, Any]:
        if asked.kind not in {Kind.CHAT, Kind.COMPLETIONS}:
            return {}
        return asking_usage(asked) | ({} if asked.wants_ids else {"return_token_ids": True})

    def plain(self, asked: Asked) -> dict[str, Any]:  # noqa: ARG002 - as the protocol says
        return {}

    def clean(self, raw: bytes, asked: Asked) -> bytes:
        if asked.wants_ids or b'token_ids":' not in raw:
            return raw
        if raw.find(b'"prompt_token_ids":[', 0, _FIRST_BYTES) >= 0:
            raw = _IDS.sub(b"", raw, 2)
        first, *others = raw.split(b',"token_ids":[')
        raw = first + b"".join([part[part.index(b"]") + 1 :] for part in others])
        return _IDS.sub(b"", raw) if b'token_ids":' in raw else raw  # null, or first in its object

    def read(self, event: dict[str, Any]) -> Piece:
        piece = read_openai(event)
        choices = event.get("choices")
        if choices and isinstance(choices[0].get("logprobs"), dict):
            return piece._replace(logprobs=_chat_form(choices[0]["logprobs"]))
        return piece

    def why_not(self, asked: Asked) -> str | None:
        for name in ("frequency_penalty", "presence_penalty"):
            if asked.fields.get(name):
                return f"{name}: this engine counts only what it said itself"
        return None

    async def prompt_ids(self, call: Call, asked: Asked, model: str) -> tuple[int, ...]:
        fields = asked.fields
        if asked.kind is Kind.COMPLETIONS:
            prompt = fields["prompt"]
            if isinstance(prompt, list):
                return tuple(prompt)
            body = {"model": model, "prompt": prompt, "add_special_tokens": fields.get("add_special_tokens", True)}
        else:
            body = {name: fields[name] for name in _TEMPLATE if name in fields}
            body = {"add_generation_prompt": True, **body, "model": model}
        return tuple((await call("/tokenize", body))["tokens"])

    async def ids_of(self, call: Call, text: str, model: str) -> list[int]:
        answer = await call("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False})
        return list(answer["tokens"])

    async def text_of(self, call: Call, ids: list[int], model: str) -> str:
        return str((await call("/detokenize", {"model": model, "tokens": ids}))["prompt"])

    async def go_on(self, call: Call, asked: Asked, model: str, ids: list[int], left: int | None) -> Continuation:
        if left is None:  # its default would be 16 tokens
            known = await call("/tokenize", {"model": model, "prompt": "a"})
            left = max(1, int(known["max_model_len"]) - len(ids))
        body = carried(asked) | {
            "model": model,
            "prompt": ids,
            "max_tokens": left,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
        }
        if asked.wants_logprobs:
            given = asked.fields.get("top_logprobs") if asked.kind is Kind.CHAT else asked.fields["logprobs"]
            body["logprobs"] = int(given or 0)
        return Continuation("/v1/completions", body, self.read)


_TEMPLATE = ("messages", "tools", "chat_template", "chat_template_kwargs", "add_generation_prompt",
             "continue_final_message")  # fmt: skip


def _chat_form(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per token, whichever of OpenAI's two forms it came in."""
    if isinstance(logprobs.get("content"), list):
        return list(logprobs["content"])
    tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
    return [
        {
            "token": token,
            "logprob": value,
            "bytes": list(token.encode()),
            "top_logprobs": [_row(name, its) for name, its in (top or {}).items()],
        }
        for token, value, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True)
    ]


def _row(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}
