"""A stream that is cut anywhere goes on as if nothing had been. Oracle: the same stream, not cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cutting_engine import CuttingEngine, ask, gate_before, told
from mock_answer import Dialect

CHAT = {"model": "m", "messages": [{"role": "user", "content": "go on"}], "stream": True, "temperature": 0}
TEXT = {"model": "m", "prompt": "go on", "stream": True, "temperature": 0}
USAGE = {"stream_options": {"include_usage": True}}

CASES: dict[str, tuple[str, dict[str, Any], Dialect]] = {
    "chat": ("/v1/chat/completions", CHAT | USAGE | {"max_tokens": 14}, Dialect()),
    "chat, ends by itself": ("/v1/chat/completions", CHAT | USAGE, Dialect(64, end_one_in=12)),
    "completions": ("/v1/completions", TEXT | USAGE | {"max_tokens": 14}, Dialect()),
    "several tokens an event": ("/v1/completions", TEXT | USAGE | {"max_tokens": 30}, Dialect(merge=4)),
    "wide characters": (
        "/v1/chat/completions",
        CHAT | USAGE | {"messages": [{"role": "user", "content": "wide 3"}], "max_tokens": 40},
        Dialect(),
    ),
    "the ids, too": ("/v1/completions", TEXT | {"return_token_ids": True, "max_tokens": 14}, Dialect()),
    "logprobs": ("/v1/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 1, "max_tokens": 14}, Dialect()),
    "a stop string": ("/v1/chat/completions", CHAT | USAGE | {"stop": ["plut d"], "max_tokens": 40}, Dialect()),
    "stop strings, several tokens an event": (
        "/v1/completions",
        TEXT | USAGE | {"stop": ["zzzzzzzz", "stil"], "max_tokens": 60},
        Dialect(merge=3),
    ),
}


async def _cut_at(tmp_path: Any, path: str, body: dict[str, Any], dialect: Dialect, how: str) -> None:
    engine = CuttingEngine(dialect, how=how)
    async with (
        engine.serve() as first,
        engine.serve() as second,
        gate_before(tmp_path, {"a": first, "b": second}) as gate,
    ):
        _, _, undisturbed = await ask(gate.port, body, path=path)
        whole = told(undisturbed)
        assert whole.done
        assert whole.finish
        assert not whole.resumed
        resumed = 0
        for cut in range(0, engine.length, max(1, engine.length // 97)):
            engine.cut = cut
            status, _, cut_body = await ask(gate.port, body, path=path)
            seen = told(cut_body)
            assert status == 200
            assert seen.same == whole.same, f"cut at byte {cut}"
            resumed += bool(seen.resumed)
        assert resumed > 60


@pytest.mark.parametrize("case", CASES)
def test_a_stream_cut_anywhere_ends_like_the_undisturbed_one(tmp_path, case):
    path, body, dialect = CASES[case]
    asyncio.run(_cut_at(tmp_path, path, body, dialect, "reset"))
