"""A replica asked directly, without the gate: what it makes of a prompt, and how it goes on from given ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import aiohttp

from polyfleet.errors import LaunchError

_CONTEXT = 8
"""Ids of the prompt that go before others when these are made text: a first word's blank depends on them."""
_GREEDY = {"temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


class Rest(NamedTuple):
    """What an engine says after some ids. `made` tokens as it counts them, the end of sequence among them."""

    text: str
    ids: list[int]
    finish: str
    made: int


@dataclass(frozen=True)
class Direct:
    """One replica at `url`; `engine` as routes name it, `key` what it asks for. Bodies are clients' requests; `model`
    the replica's own name for theirs (None: the same). Everything raises LaunchError where it refuses or is gone."""

    url: str
    engine: str
    client: aiohttp.ClientSession
    key: str | None = None
    model: str | None = None

    async def prompt_ids(self, body: dict[str, Any]) -> list[int]:
        """The prompt of a chat or a completion as ids."""
        return await self._dialect.prompt_ids(self, body)

    async def text(self, prompt: list[int], ids: list[int], model: str) -> str:
        """Text of ids where they stand, after the prompt."""
        before = prompt[-_CONTEXT:]
        whole, context = [await self._dialect.text(self, part, model) for part in (before + ids, before)]
        return whole[len(context) :]

    async def pieces(self, prompt: list[int], ids: list[int], model: str) -> list[str]:
        """The text of ids, one piece for each."""
        before = prompt[-_CONTEXT:]
        ends = [await self._dialect.text(self, before + ids[:count], model) for count in range(len(ids) + 1)]
        return [now[len(last) :] for last, now in pairwise(ends)]

    async def go_on(self, ids: list[int], left: int, body: dict[str, Any]) -> Rest:
        """Greedily, for `left` tokens at most, with no stop strings."""
        return await self._dialect.go_on(self, ids, left, body)

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        """What it answers to a POST of JSON."""
        if self.model is not None and "model" in body:
            body = {**body, "model": self.model}
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            async with self.client.post(self.url + path, json=body, headers=headers) as answer:
                if answer.status != 200:
                    told = (await answer.text())[:200]
                    raise LaunchError(f"asked directly, {self.url}{path} says {answer.status}: {told}")
                return await answer.json()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LaunchError(f"asked directly, {self.url}{path} does not answer: {error!r}") from None

    @property
    def _dialect(self) -> _Dialect:
        try:
            return _DIALECTS[self.engine]
        except KeyError:
            raise LaunchError(
                f"{self.url}: the drill cannot ask the engine {self.engine!r} to go on from token ids; a fleet of "
                f"several engines is judged where they are of: {', '.join(_DIALECTS)}"
            ) from None


class _Dialect(Protocol):
    async def prompt_ids(self, replica: Direct, body: dict[str, Any]) -> list[int]: ...
    async def text(self, replica: Direct, ids: list[int], model: str) -> str: ...
    async def go_on(self, replica: Direct, ids: list[int], left: int, body: dict[str, Any]) -> Rest: ...


class _Vllm:
    async def prompt_ids(self, replica: Direct, body: dict[str, Any]) -> list[int]:
        asked = {name: value for name, value in body.items() if name in {"model", "messages", "prompt"}}
        return list((await replica.ask("/tokenize", asked))["tokens"])

    async def text(self, replica: Direct, ids: list[int], model: str) -> str:
        return str((await replica.ask("/detokenize", {"model": model, "tokens": ids}))["prompt"])

    async def go_on(self, replica: Direct, ids: list[int], left: int, body: dict[str, Any]) -> Rest:
        asked = {"model": body["model"], "prompt": ids, "max_tokens": left, "temperature": 0, "return_token_ids": True}
        told = await replica.ask("/v1/completions", asked | _bias(body))
        choice, made = told["choices"][0], told["usage"]["completion_tokens"]
        return Rest(choice["text"], choice["token_ids"], choice["finish_reason"], made)


class _LlamaCpp:
    async def prompt_ids(self, replica: Direct, body: dict[str, Any]) -> list[int]:
        text = body.get("prompt")
        if "messages" in body:
            text = (await replica.ask("/apply-template", {"messages": body["messages"]}))["prompt"]
        asked = {"content": text, "add_special": True, "parse_special": True}
        return list((await replica.ask("/tokenize", asked))["tokens"])

    async def text(self, replica: Direct, ids: list[int], model: str) -> str:  # noqa: ARG002 - as the protocol says
        return str((await replica.ask("/detokenize", {"tokens": ids}))["content"])

    async def go_on(self, replica: Direct, ids: list[int], left: int, body: dict[str, Any]) -> Rest:
        asked = {"prompt": ids, "n_predict": left, "return_tokens": True, **_GREEDY, **_bias(body)}
        told = await replica.ask("/completion", asked)
        finish = "length" if told["stop_type"] == "limit" else "stop"
        return Rest(told["content"], told["tokens"], finish, told["tokens_predicted"])


def _bias(body: dict[str, Any]) -> dict[str, Any]:
    return {"logit_bias": body["logit_bias"]} if body.get("logit_bias") else {}


_DIALECTS: Mapping[str, _Dialect] = {"llama.cpp": _LlamaCpp(), "vllm": _Vllm(), "vllm-cpu": _Vllm()}
