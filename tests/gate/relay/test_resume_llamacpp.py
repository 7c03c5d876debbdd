"""Streams of real llama.cpp, cut in the middle, go on on another one. Oracle: the same request, not cut (greedy)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cutting_engine import ask, gate_before, told
from cutting_proxy import CuttingProxy

pytest.importorskip("xllamacpp")
from polyfleet.launch.weights import find_weights

_PROMPTS = (
    "What does the function return?",
    "Écris une phrase sur le café — s'il te plaît",
    "class Dog:\n    def bark(self):",
    "The methods of a list are",
    "日本語 🙂 ok?",
    "Return a new array of bytes",
)


@contextlib.contextmanager
def llamacpps(tmp_path: Path, count: int = 2):
    """Servers of the tiny model, by port; gone afterwards."""
    weights = find_weights("polyfleet/tiny", tmp_path)
    command = [sys.executable, "-m", "polyfleet.launch.llamacpp_server", str(weights), "--slots", "2"]
    running = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(count)
    ]
    try:
        ports = []
        for process in running:
            line = next(line for line in process.stdout if "listening" in line)
            ports.append(int(re.search(r":(\d+)\s*$", line)[1]))
        yield ports
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdout.close()


def bodies(rng: random.Random):
    """Requests of all kinds that can be resumed."""
    while True:
        prompt = rng.choice(_PROMPTS)
        body = {"model": "m", "stream": True, "temperature": 0, "max_tokens": rng.choice((8, 40, 120))}
        body["stream_options"] = {"include_usage": True}
        if rng.random() < 0.3:
            body["stop"] = rng.choice((["\n"], [" the"], ["ing the", "."], ["zzzzzzz", "ion of"]))
        if rng.random() < 0.2:
            body |= {"logit_bias": [[rng.randrange(300, 1500), 4.0]]}
        if rng.random() < 0.5:
            yield "/v1/completions", body | {"prompt": prompt}
        else:
            yield "/v1/chat/completions", body | {"messages": [{"role": "user", "content": prompt}]}


async def prove(tmp_path: Path, ports: list[int], requests: int, cuts: int, seed: int = 1) -> dict[str, int]:
    """Cuts each request's answer at `cuts` random bytes; counts how they came out. Fails where one is not the same."""
    rng = random.Random(seed)
    seen_ids: set[bytes] = set()  # a request is cut once, on whichever it comes to first
    proxies = [CuttingProxy(port, seen=seen_ids) for port in ports]
    seen = {"cut": 0, "resumed": 0, "exact": 0}
    odd: list[tuple[object, ...]] = []
    async with contextlib.AsyncExitStack() as stack:
        urls = {}
        for name, proxy in zip("ab", proxies, strict=True):
            urls[name] = await stack.enter_async_context(proxy.serve())
        gate = await stack.enter_async_context(gate_before(tmp_path, urls, engine="llama.cpp"))
        for _, (path, body) in zip(range(requests), bodies(rng), strict=False):
            for proxy in proxies:
                proxy.cut = None
            _, _, undisturbed = await ask(gate.port, body, path=path)
            whole = told(undisturbed)
            for _ in range(cuts):
                cut = rng.randrange(100, 200 + 500 * (whole.usage["completion_tokens"] + 1))
                for proxy in proxies:
                    proxy.cut = cut
                before = sum(proxy.cuts for proxy in proxies)
                status, _, read = await ask(gate.port, body, path=path)
                assert status == 200, read
                if sum(proxy.cuts for proxy in proxies) == before:
                    continue
                again = told(read)
                seen["cut"] += 1
                seen["resumed"] += bool(again.resumed)
                same = _shown(again) == _shown(whole)
                seen["exact"] += same
                if not same:
                    odd.append((path, body, cut, _shown(whole), _shown(again), again.error))
    assert not odd, odd[0]
    return seen


def _shown(read) -> tuple:
    counts = [read.usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")] if read.usage else []
    return read.text, read.finish, counts, read.done


def test_a_cut_stream_of_llama_cpp_ends_like_the_undisturbed_one(tmp_path):
    with llamacpps(tmp_path) as ports:
        seen = asyncio.run(prove(tmp_path, ports, requests=10, cuts=4))
    assert seen["exact"] == seen["cut"] > 20
    assert seen["resumed"] > 15


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 7, 11])
def test_hundreds_of_cut_streams_end_like_the_undisturbed_ones(tmp_path, seed):
    with llamacpps(tmp_path) as ports:
        seen = asyncio.run(prove(tmp_path, ports, requests=50, cuts=4, seed=seed))
    print(f"seed {seed}: {seen['exact']} of {seen['cut']} the same, {seen['resumed']} resumed in mid-stream")
    assert seen["exact"] == seen["cut"] > 100
