"""What the gate asks of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from polyfleet.gate.relay.asked import Asked
from polyfleet.gate.relay.transcript import EventReader, Piece


class Call(Protocol):
    """Asks the engine at hand something beside the stream: POST of JSON, an object back. Raises UpstreamFailed."""

    async def __call__(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Continuation:
    """A request that goes on with a stream, and how its events are read."""

    path: str
    body: dict[str, Any]
    read: EventReader


class Engine(Protocol):
    """`resumes`: can go on from ids. `holds_text`: where stop strings are asked for, its text comes later than its
    ids. `completion_limit`: tokens that it makes of a completion for which none are named (None: no limit).
    `health_path`: what answers 200 where it is well (None: nothing does)."""

    resumes: bool
    holds_text: bool
    completion_limit: int | None
    health_path: str | None

    def armed(self, asked: Asked) -> dict[str, Any]:
        """Fields to add to a streamed request, so that its events tell what going on needs."""
        ...

    def plain(self, asked: Asked) -> dict[str, Any]:
        """Fields to add to a request that is not streamed."""
        ...

    def clean(self, raw: bytes, asked: Asked) -> bytes:
        """Whole events without what `armed` brought and the client did not ask for."""
        ...

    def read(self, event: dict[str, Any]) -> Piece:
        """One event of an armed stream."""
        ...

    def why_not(self, asked: Asked) -> str | None:
        """What of this request this engine in particular cannot hand over or take over."""
        ...

    async def prompt_ids(self, call: Call, asked: Asked, model: str) -> tuple[int, ...]:
        """The prompt's ids, as this engine makes them of the request."""
        ...

    async def ids_of(self, call: Call, text: str, model: str) -> list[int]:
        """Ids of a piece of text in the middle of another: no beginning of sequence."""
        ...

    async def text_of(self, call: Call, ids: list[int], model: str) -> str:
        """Text of ids."""
        ...

    async def go_on(self, call: Call, asked: Asked, model: str, ids: list[int], left: int | None) -> Continuation:
        """The request that goes on after `ids` (prompt and answer so far) for `left` tokens (None: no limit of the
        client). It asks for no stop strings: the gate watches for them over the cut."""
        ...


def carried(asked: Asked) -> dict[str, Any]:
    """The client's fields that a going-on request keeps: all but those that say what and how to answer."""
    return {name: value for name, value in asked.fields.items() if name not in _OWN}


_OWN = frozenset(
    {
        "messages", "prompt", "model", "stream", "stream_options", "stop", "n", "best_of", "max_tokens",
        "max_completion_tokens", "logprobs", "top_logprobs", "tools", "tool_choice", "response_format", "echo",
        "return_token_ids", "add_generation_prompt", "continue_final_message", "chat_template",
        "chat_template_kwargs", "parallel_tool_calls", "store", "metadata", "service_tier",
        "include_stop_str_in_output",
    }
)  # fmt: skip


def read_openai(event: dict[str, Any]) -> Piece:
    """One event in OpenAI's form, chat or completions, with what engines add to it."""
    error = event.get("error")
    if error is not None:
        return Piece(error=str(error.get("message", error)) if isinstance(error, dict) else str(error))
    choices = event.get("choices")
    usage = event.get("usage")
    usage = usage if isinstance(usage, dict) else None
    first_ids = _ids(event.get("prompt_token_ids"))
    if not choices:
        return Piece(usage=usage, prompt_ids=first_ids)
    choice = choices[0]
    delta = choice.get("delta")
    text = (delta.get("content") if isinstance(delta, dict) else choice.get("text")) or ""
    return Piece(
        text=text,
        ids=_ids(choice.get("token_ids")) or (),
        finish=choice.get("finish_reason"),
        usage=usage,
        prompt_ids=first_ids or _ids(choice.get("prompt_token_ids")),
        beyond=isinstance(delta, dict) and any(delta.get(name) for name in _BEYOND),
    )


_BEYOND = ("tool_calls", "function_call", "reasoning_content", "reasoning", "refusal", "audio")


def _ids(value: Any) -> tuple[int, ...] | None:
    return tuple(value) if isinstance(value, list) else None
