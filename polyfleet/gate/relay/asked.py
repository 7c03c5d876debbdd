"""What of a request matters to the gate; everything else passes untouched."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any

import orjson

from polyfleet.gate.http.faults import Fault


class Kind(StrEnum):
    """The routes of OpenAI's API that the gate relays, by path."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    EMBEDDINGS = "/v1/embeddings"
    RESPONSES = "/v1/responses"


_OUTPUT: dict[Kind, tuple[str, ...]] = {
    Kind.CHAT: ("max_completion_tokens", "max_tokens"),
    Kind.COMPLETIONS: ("max_completion_tokens", "max_tokens"),
    Kind.EMBEDDINGS: (),
    Kind.RESPONSES: ("max_output_tokens",),
}
"""What limits an answer's tokens. A name of another kind is not believed: the engine would not heed it."""
COUNTS = {kind: (*names, "n") if kind in {Kind.CHAT, Kind.COMPLETIONS} else names for kind, names in _OUTPUT.items()}
"""Fields that must be whole numbers, 0 or more."""
_MOST = 2**63 - 1


@dataclass
class Asked:
    """One request: its bytes, its fields, and what follows from them."""

    kind: Kind
    body: bytes
    fields: dict[str, Any]
    model: str
    stream: bool
    max_tokens: int | None = field(init=False)
    """The client's limit, the largest where it set several; None where it set none that all engines heed."""
    wants_usage: bool = field(init=False)
    input_tokens: int = field(init=False)
    """A guess before any engine has counted: four bytes a token, as English text has; ids are counted."""

    def __post_init__(self) -> None:
        self.max_tokens, self.wants_usage, self.input_tokens = self._limit(), self._asks_usage(), self._input()

    def _limit(self) -> int | None:
        if self.fields.get("n_predict") is not None:
            return None  # llama.cpp's own: there it goes before the others, elsewhere it is nothing
        return max(self._limits, default=None)

    @property
    def _limits(self) -> set[int]:
        return {int(value) for name in _OUTPUT[self.kind] if (value := self.fields.get(name)) is not None}

    @property
    def answers(self) -> int:
        """How many answers are asked for: `n` to each prompt."""
        prompt = self.fields.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
        n = self.fields.get("n")
        return (int(n) if isinstance(n, int | float) and n > 1 else 1) * prompts

    @property
    def stop(self) -> tuple[str, ...]:
        given = self.fields.get("stop")
        if isinstance(given, str):
            return (given,) if given else ()
        return tuple(one for one in given if isinstance(one, str) and one) if isinstance(given, list) else ()

    @property
    def greedy(self) -> bool:
        return self.fields.get("temperature") == 0 or self.fields.get("top_k") == 1

    def _asks_usage(self) -> bool:
        options = self.fields.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    @property
    def wants_logprobs(self) -> bool:
        given = self.fields.get("logprobs")
        return given is not None and given is not False

    @property
    def wants_ids(self) -> bool:
        return bool(self.fields.get("return_token_ids"))

    def _input(self) -> int:
        prompt = self.fields.get("prompt") or self.fields.get("input")
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
            return len(prompt)
        return max(1, len(self.body) // 4)

    @property
    def conversation(self) -> str | None:
        """Equal for requests that begin alike: the first two messages (system and first question), or the prompt's
        first 512 characters. A digest, so that no prompt is kept."""
        messages = self.fields.get("messages")
        if isinstance(messages, list) and messages:
            start: Any = messages[:2]
        else:
            prompt = self.fields.get("prompt") or self.fields.get("input")
            if not isinstance(prompt, str | list) or not prompt:
                return None
            start = prompt[:512]
        try:
            seen = orjson.dumps(start)
        except TypeError:
            return None
        return blake2b(seen, digest_size=8).hexdigest()

    @cached_property
    def not_resumable(self) -> str | None:
        """Why this stream cannot be continued in its middle by another replica; None where it can.

        It is decided here, from the request alone: what an engine keeps beside the tokens (a grammar's state, a tool
        call's parser, a seed's random numbers, several answers at once) cannot be handed over.
        """
        fields = self.fields
        if self.kind not in {Kind.CHAT, Kind.COMPLETIONS}:
            return "this kind of answer is not made of tokens that can be handed over"
        for name in ("n", "best_of"):
            if isinstance(fields.get(name), int | float) and fields[name] > 1:
                return f"{name} > 1"
        if len(self._limits) > 1:
            return "two limits of tokens"
        for name in _STATEFUL:
            if fields.get(name):
                return name
        return self._state_fault() or self._prompt_fault()

    def _state_fault(self) -> str | None:
        fields = self.fields
        if fields.get("tools") and fields.get("tool_choice") != "none":
            return "tools"
        form = fields.get("response_format")
        if isinstance(form, dict) and form.get("type", "text") != "text":
            return "response_format"
        if fields.get("seed") is not None and not self.greedy:
            return "a seed with sampling"
        options = fields.get("stream_options")
        if isinstance(options, dict) and options.get("continuous_usage_stats"):
            return "continuous_usage_stats"
        return None

    def _prompt_fault(self) -> str | None:
        if self.kind is Kind.COMPLETIONS:
            prompt = self.fields.get("prompt")
            if isinstance(prompt, str) or (isinstance(prompt, list) and prompt and isinstance(prompt[0], int)):
                return None
            return "several prompts"
        for message in self.fields.get("messages") or ():
            content = message.get("content") if isinstance(message, dict) else None
            if isinstance(content, list) and any(
                not isinstance(part, dict) or part.get("type") != "text" for part in content
            ):
                return "images or sound in the prompt"
        return None

    def with_fields(self, extra: dict[str, Any]) -> bytes:
        """The body with these fields set. New ones are put in front of the client's own bytes, so that what passes is
        what was sent, down to the spelling of a number."""
        if not extra:
            return self.body
        if any(name in self.fields for name in extra):
            return orjson.dumps({**self.fields, **extra})
        start = self.body.index(b"{") + 1
        comma = b"," if self.fields else b""
        return b"{" + orjson.dumps(extra)[1:-1] + comma + self.body[start:]


_STATEFUL = (
    "functions",
    "echo",
    "suffix",
    "grammar",
    "json_schema",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "use_beam_search",
    "logits_processors",
    "n_predict",
    "prompt_logprobs",
    "modalities",
)


_SURELY_SHALLOW = 250
"""With so few brackets nothing can lie deeper than what can be written again."""


def read_asked(kind: Kind, body: bytes) -> Asked:
    """Raises Fault (400) with what is wrong."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Fault(400, "invalid_json", f"the body is not JSON: {error}") from None
    if body.count(b"{") + body.count(b"[") > _SURELY_SHALLOW:
        _check_depth(fields)
    if not isinstance(fields, dict):
        raise Fault(400, "invalid_json", "the body is not a JSON object")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise Fault(400, "missing_model", "`model` must name a model", param="model")
    stream = fields.get("stream", False)
    if not isinstance(stream, bool) and stream is not None:
        raise Fault(400, "invalid_type", "`stream` must be true or false", param="stream")
    _check_types(kind, fields)
    return Asked(kind, body, fields, model, bool(stream))


def _check_depth(fields: Any) -> None:
    """What a resume puts into another request must be writable there: orjson reads deeper than it writes."""
    try:
        orjson.dumps([fields])
    except TypeError:
        raise Fault(400, "too_deep", "the body is nested too deeply") from None


def _check_types(kind: Kind, fields: dict[str, Any]) -> None:
    if kind is Kind.CHAT and not isinstance(fields.get("messages"), list):
        raise Fault(400, "invalid_type", "`messages` must be a list of messages", param="messages")
    if kind is Kind.COMPLETIONS and not isinstance(fields.get("prompt"), str | list):
        raise Fault(400, "invalid_type", "`prompt` must be a text or a list", param="prompt")
    for name in COUNTS[kind]:
        value = fields.get(name)
        if value is not None and not (_is_whole(value) and 0 <= value <= _MOST):
            raise Fault(400, "invalid_type", f"`{name}` must be a whole number, 0 or more", param=name)


def _is_whole(value: Any) -> bool:
    """As JSON Schema has it: 2.0 is a whole number."""
    return type(value) is int or (type(value) is float and value.is_integer())
