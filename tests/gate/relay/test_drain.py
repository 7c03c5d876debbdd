"""A gate that is stopped says so to everyone whom it could not answer: those that wait, and those in mid-stream."""

from __future__ import annotations

import asyncio
import json

from cutting_engine import CuttingEngine, ask, gate_before, told

STREAM = {"model": "m", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 8, "stream": True}


async def _stopped(tmp_path, engine, waiting, freed=None):
    """What a stream in the only slot and those that wait behind it read when the gate is stopped."""
    async with engine.serve() as url, gate_before(tmp_path, {"a": url}, slots=1) as gate:
        clients = [asyncio.ensure_future(ask(gate.port, STREAM))]
        await _until(lambda: len(engine.requests) == 1)
        if engine.cut is not None:
            await _until(lambda: all(one.client is not None and one.client.started for one in gate._server.connections))
        clients += [asyncio.ensure_future(ask(gate.port, STREAM)) for _ in range(waiting)]
        await _until(
            lambda: gate.admission.predicted_wait_s("m") > 0 or gate.admission._doors["m"].queue.waiting == waiting
        )
        closing = asyncio.ensure_future(gate.close())
        if freed is not None:
            freed.set()
        answers = await asyncio.wait_for(asyncio.gather(*clients), 20)
        await closing
    return answers


async def _until(true):
    while not true():
        await asyncio.sleep(0.01)


def test_who_waits_and_who_reads_is_told_that_the_gate_ends(tmp_path):
    engine = CuttingEngine(cut=900, how="silence")
    first, *others = asyncio.run(_stopped(tmp_path, engine, 3))
    assert first[0] == 200
    assert told(first[2]).error["code"] == "gate_stopped"
    for status, headers, body in others:
        assert (status, headers["connection"], json.loads(body)["error"]["code"]) == (503, "close", "gate_stopped")
        assert int(headers["retry-after"]) > 0
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    seen = [(line["status"], line["error"], line["client_gone"]) for line in lines]
    assert seen == [(503, "gate_stopped", False)] * 4


def test_who_waits_is_answered_where_the_time_is_enough(tmp_path):
    class Slow(CuttingEngine):
        async def _answer(self, method, path, headers, body, reader, writer):
            if method == "POST":
                self.requests.append((path, headers, {}))
                await freed.wait()
                self.requests.pop()
            return await super()._answer(method, path, headers, body, reader, writer)

    freed = asyncio.Event()
    answers = asyncio.run(_stopped(tmp_path, Slow(), 3, freed))
    assert [told(body).done for _, _, body in answers] == [True] * 4
