"""A replica that fails after the finish event: the client reads one finish reason, its usage, and the end."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from cutting_engine import CuttingEngine, ask, gate_before, told
from mock_answer import Dialect, asked_for, events, pieces

BODY = {"model": "m", "stream": True, "temperature": 0, "max_tokens": 12, "stream_options": {"include_usage": True}}
KINDS = {
    "/v1/chat/completions": BODY | {"messages": [{"role": "user", "content": "go on"}]},
    "/v1/completions": BODY | {"prompt": "go on"},
}


def _places(raw: bytes) -> dict[str, int]:
    """Bytes of the answer up to its last events."""
    finish = raw.index(b"\n\n", raw.index(b'"finish_reason":"')) + 2
    usage = raw.index(b"\n\n", finish) + 2
    return {"usage and end lost": finish, "half of the usage event": finish + 30, "end lost": usage}


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("how", ["reset", "end", "silence"])
@pytest.mark.parametrize("place", ["usage and end lost", "half of the usage event", "end lost"])
def test_what_fails_after_the_finish_says_no_second_one(tmp_path, monkeypatch, path, how, place):
    async def test():
        engine = CuttingEngine(Dialect(tokens=12), how=how)
        async with engine.serve() as one, engine.serve() as two, gate_before(tmp_path, {"a": one, "b": two}) as gate:
            monkeypatch.setattr(gate.pool, "stalled", lambda flight: flight.silent_s > 0.2)
            whole = told((await ask(gate.port, KINDS[path], path=path))[2])
            asked = asked_for(orjson.dumps(KINDS[path] | {"return_token_ids": True}), "chat" in path, engine.dialect)
            raw = b"".join(events(asked, list(pieces(asked, engine.dialect))))
            engine.cut = _places(raw)[place]
            read = told((await ask(gate.port, KINDS[path], path=path))[2])
        assert len(engine.seen) == 1
        assert read.same == whole.same
        assert read.usage is not None

    asyncio.run(asyncio.wait_for(test(), 30))
