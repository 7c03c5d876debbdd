"""Any OpenAI-compatible engine of which nothing more is known: it can be asked again, not gone on with."""

from __future__ import annotations

from typing import Any

from polyfleet.gate.engines.base import Call, Continuation, read_openai
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.gate.relay.transcript import Piece


def asking_usage(asked: Asked) -> dict[str, Any]:
    """The ledger needs the counts of every stream, asked for or not."""
    if asked.wants_usage or asked.kind not in {Kind.CHAT, Kind.COMPLETIONS}:
        return {}
    options = asked.fields.get("stream_options")
    return {"stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True}}


class OpenAi:
    """See Engine."""

    health_path: str | None = None
    resumes = False
    completion_limit: int | None = None
    holds_text = False

    def armed(self, asked: Asked) -> dict[str, Any]:
        return asking_usage(asked)

    def plain(self, asked: Asked) -> dict[str, Any]:  # noqa: ARG002 - as the protocol says
        return {}

    def clean(self, raw: bytes, asked: Asked) -> bytes:  # noqa: ARG002 - as the protocol says
        return raw

    def read(self, event: dict[str, Any]) -> Piece:
        return read_openai(event)

    def why_not(self, asked: Asked) -> str | None:  # noqa: ARG002 - as the protocol says
        return "the engine tells no token ids"

    async def prompt_ids(self, call: Call, asked: Asked, model: str) -> tuple[int, ...]:
        raise NotImplementedError  # never asked: `resumes` is False

    async def ids_of(self, call: Call, text: str, model: str) -> list[int]:
        raise NotImplementedError  # never asked: `resumes` is False

    async def text_of(self, call: Call, ids: list[int], model: str) -> str:
        raise NotImplementedError  # never asked: `resumes` is False

    async def go_on(self, call: Call, asked: Asked, model: str, ids: list[int], left: int | None) -> Continuation:
        raise NotImplementedError  # never asked: `resumes` is False
