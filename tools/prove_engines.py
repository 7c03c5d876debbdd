"""Real engines behind the gate: undisturbed answers, and streams that are cut and go on on the same and on another one.

    python tools/prove_engines.py --vllm-python build/bench/vllm/bin/python [--cuts 60] [--seed 1]
    python tools/prove_engines.py --routes .polyfleet/routes.json       # a fleet that runs: vllm and llama.cpp

Without --routes it brings up a fleet of one vLLM and one llama.cpp with the tiny model, and takes it down afterwards.
Oracles: an undisturbed stream is compared with the engine asked directly (text, finish reason, usage, logprobs, ids). A
cut one must be the first engine's own tokens up to the cut, followed by what the second engine, asked directly for
exactly these ids, says after them: text, finish reason, usage. How many equal the undisturbed answer is counted beside.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cut_answers import AnswerCutter, Where, at_byte, at_mark

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "gate" / "relay"))
from cutting_engine import Told, told  # noqa: E402

from polyfleet.drill.confirm import Right, right_answer  # noqa: E402
from polyfleet.drill.direct import Direct  # noqa: E402
from polyfleet.gate.app import Gate, GateSettings  # noqa: E402
from polyfleet.gate.keys.open_door import OpenDoor  # noqa: E402
from polyfleet.gate.relay.retries import RetryBudget  # noqa: E402

MODEL = "polyfleet/tiny"
SPEC = """\
workloads:
  one: {{model: polyfleet/tiny, traffic: {{rate: 1/s, input: 100, output: 100}}}}
  other: {{model: polyfleet/tiny, traffic: {{rate: 1/s, input: 100, output: 100}}}}
local:
  one: {{engine: vllm-cpu, python: {python}, slots: 4, context: 2048}}
  other: {{engine: llama.cpp, slots: 4, context: 2048}}
"""
PROMPTS = (
    "What does the function return?",
    "Écris une phrase sur le café — s'il te plaît",
    "class Dog:\n    def bark(self):",
    "The methods of a list are",
    "日本語 🙂 ok?",
    "Return a new array of bytes",
)
STOPS = (["\n"], [" the"], ["ing the", "."], ["zzzzzzz", "ion of"])
_WIDE = (132, 107)
"""The two bytes of é."""
FINISH = rb'data: [^\n]*"finish_reason":\s?"[^\n]*\n\n'
MARKS: tuple[Where, ...] = (
    at_mark(FINISH),  # the tokens are all there, the end is missing
    at_mark(FINISH, after=True),  # usage and [DONE] are missing
    at_mark(rb"data: \[DONE\]"),
)


def requests(rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and body, greedy, of all kinds that can go on."""
    while True:
        body: dict[str, Any] = {"model": MODEL, "stream": True, "temperature": 0}
        body |= {"max_tokens": rng.choice((8, 40, 120)), "stream_options": {"include_usage": True}}
        prompt = rng.choice(PROMPTS)
        if rng.random() < 0.35:
            body["stop"] = rng.choice(STOPS)
        if rng.random() < 0.15:  # characters of several bytes: the tiny model says few by itself
            body["logit_bias"] = {str(token): 5.0 for token in _WIDE}
        if rng.random() < 0.5:
            yield "/v1/completions", body | {"prompt": prompt}
        else:
            yield "/v1/chat/completions", body | {"messages": [{"role": "user", "content": prompt}]}


@dataclass
class Engine:
    """One engine of the fleet, asked directly or through a proxy that can cut."""

    direct: Direct
    cutter: AnswerCutter

    @property
    def name(self) -> str:
        return self.direct.engine


@dataclass
class Count:
    """One direction. `confirmed`: the oracle agrees; `same`: equal to the undisturbed answer, too."""

    cuts: int = 0
    resumed: int = 0
    confirmed: int = 0
    same: int = 0
    odd: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def gate_before(urls: dict[str, tuple[str, str]]) -> AsyncIterator[str]:
    """A gate whose first route takes everything, as long as it can. `urls`: address and engine by route."""
    routes = [
        {"id": name, "url": url, "engine": engine, "served": [MODEL], "weight": 1.0 if at == 0 else 0.0}
        for at, (name, (url, engine)) in enumerate(urls.items())
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "routes.json"
        file.write_text(json.dumps({"routes": routes}))
        gate = Gate(GateSettings(file, port=0, drain_s=1.0, access_log=Path(folder) / "access.log"), OpenDoor())
        gate.shared.budget = RetryBudget(most=1e9)  # more fails here than in any fleet
        await gate.start()
        try:
            yield f"http://127.0.0.1:{gate.port}"
        finally:
            await gate.close()


async def read(client: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> tuple[Told, str]:
    """A stream, read strictly, and the route that answered first."""
    async with client.post(url, json=body) as answer:
        raw = await answer.read()
        assert answer.status == 200, raw
        return told(raw.replace(b"\r\n", b"\n")), answer.headers.get("x-polyfleet-route", "")


async def undisturbed(client: aiohttp.ClientSession, engine: Engine, count: int, rng: random.Random) -> list[str]:
    """What differs between an answer through the gate and the engine's own; nothing is cut."""
    odd = []
    async with gate_before({"a": (engine.direct.url, engine.name)}) as gate:
        for _, (path, body) in zip(range(count), requests(rng), strict=False):
            more = rng.choice(({}, {"no usage": 1}, {"logprobs": 1}, {"return_token_ids": True}))
            body.update({} if "no usage" in more else more)
            if "logprobs" in more and "messages" in body:
                body.update({"logprobs": True, "top_logprobs": 2})
            if "no usage" in more:
                del body["stream_options"]
            if engine.name == "llama.cpp":  # what OpenAI's API means where a client says nothing
                body.update({"top_p": 1.0, "top_k": 0, "min_p": 0.0})
            right, _ = await read(client, engine.direct.url + path, body)
            seen, _ = await read(client, gate + path, body)
            if _facts(seen) != _facts(right):
                odd.append(f"{path} {body}: {_facts(seen)} where the engine says {_facts(right)}")
    return odd


def _facts(seen: Told) -> tuple[Any, ...]:
    counts = {name: seen.usage[name] for name in ("prompt_tokens", "completion_tokens")} if seen.usage else None
    logprobs = [(token, round(value, 3)) for token, value in seen.logprobs]  # a kept prompt rounds otherwise
    return seen.text, seen.finish, counts, seen.ids, logprobs, seen.offsets, seen.done, seen.error


async def cut_streams(
    client: aiohttp.ClientSession, first: Engine, second: Engine, cuts: int, rng: random.Random
) -> Count:
    """Cuts answers of the first engine at random bytes and at every kind of end."""
    count, asked = Count(), requests(rng)
    async with (
        first.cutter.serve() as cut_url,
        gate_before({"first": (cut_url, first.name), "second": (second.direct.url, second.name)}) as gate,
    ):
        while count.cuts < cuts:
            path, body = next(asked)
            first.cutter.where = None
            whole, route = await read(client, gate + path, body)
            if route != "first":
                continue  # it was left out after too many cuts, and comes back
            mark = rng.choice(MARKS) if rng.random() < 0.2 else at_byte(rng.randrange(200, first.cutter.length))
            await _cut(client, gate + path, body, (first, second), mark, whole, count)
    return count


async def _cut(
    client: aiohttp.ClientSession, url: str, body: dict[str, Any], pair: tuple[Engine, Engine], mark: Where,
    whole: Told, count: Count,
) -> None:  # fmt: skip
    first, second = pair
    before, first.cutter.where = first.cutter.cuts, mark
    seen, route = await read(client, url, body)
    if first.cutter.cuts == before:
        return
    count.cuts += 1
    count.resumed += bool(seen.resumed)
    place = seen.resumed[0] if seen.resumed else None
    if place is None and route == "first":  # all had been said: only the end was missing
        right = Right(whole.text, whole.finish or "", *_counts(whole))
    else:
        cuts = [place["at_token"] if place else 0]
        right = await right_answer([first.direct, second.direct], body, cuts, tuple(body.get("stop", ())))
    got = Right(seen.text, seen.finish or "", *_counts(seen))
    begun = place is None or whole.text.startswith(seen.text[: place["at_character"]])
    good = _ended(got).told == _ended(right).told and begun and seen.done and seen.error is None
    count.confirmed += good
    count.same += got == Right(whole.text, whole.finish or "", *_counts(whole))
    if not good:
        count.odd.append(f"{body}: {place} {seen.error}\n   read  {got}\n   right {right}\n   whole {whole.text!r}")


def _ended(one: Right) -> Right:
    """Half a character at the very end: llama.cpp says nothing of it in a stream, and replacement marks otherwise."""
    return one._replace(text=one.text.rstrip("\ufffd"))


def _counts(seen: Told) -> tuple[int, int]:
    usage = seen.usage or {}
    return usage.get("prompt_tokens", -1), usage.get("completion_tokens", -1)


async def prove(routes: list[dict[str, Any]], cuts: int, seed: int) -> bool:
    """Prints one table; False where something was wrong."""
    rng, good = random.Random(seed), True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        engines = {
            name: Engine(Direct(url, name, client), AnswerCutter(url))
            for name, url in ((route["engine"], route["url"]) for route in routes)
        }
        print(
            f"{'first engine':<12} {'goes on':<12} {'cuts':>5} {'in mid-stream':>14} "
            f"{'confirmed':>10} {'undisturbed':>12}"
        )
        for first in engines.values():
            odd = await undisturbed(client, first, cuts, rng)
            print(
                f"{first.name:<12} {'not cut':<12} {0:>5} {0:>14} {cuts - len(odd):>10} {cuts - len(odd):>12}",
                flush=True,
            )
            good = _told_odd(odd) and good
        for first in engines.values():
            for second in engines.values():
                seen = await cut_streams(client, first, second, cuts, rng)
                print(
                    f"{first.name:<12} {second.name:<12} {seen.cuts:>5} {seen.resumed:>14} {seen.confirmed:>10} "
                    f"{seen.same:>12}", flush=True,
                )  # fmt: skip
                good = _told_odd(seen.odd) and good
    print("confirmed: the second engine itself says so; undisturbed: equal to the answer that was not cut")
    return good


def _told_odd(odd: list[str]) -> bool:
    for one in odd[:3]:
        print(f"  WRONG {one}")
    return not odd


@contextlib.contextmanager
def fleet(python: Path) -> Iterator[Path]:
    """One vLLM and one llama.cpp, without a gate; gives their routes."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.yaml"
        spec.write_text(SPEC.format(python=python.absolute()))
        surroundings = os.environ | {"POLYFLEET_HOME": f"{folder}/home"}
        polyfleet = [sys.executable, "-m", "polyfleet"]
        try:
            subprocess.run([*polyfleet, "up", str(spec), "--no-gate", "--timeout", "300"], env=surroundings, check=True)
            yield Path(folder) / "home" / "routes.json"
        finally:
            subprocess.run([*polyfleet, "down"], env=surroundings, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm-python", type=Path, help="the Python that has vLLM")
    parser.add_argument("--routes", type=Path, help="a fleet that runs")
    parser.add_argument("--cuts", type=int, default=60, help="in each direction")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if (asked.vllm_python is None) == (asked.routes is None):
        parser.error("name --vllm-python or --routes")
    with contextlib.ExitStack() as stack:
        file = asked.routes or stack.enter_context(fleet(asked.vllm_python))
        good = asyncio.run(prove(json.loads(file.read_text())["routes"], asked.cuts, asked.seed))
    sys.exit(not good)


if __name__ == "__main__":
    main()
