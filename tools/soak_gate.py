"""The gate under several times the load that its engines can carry.

    python tools/soak_gate.py --minutes 10 --times 5

Mock engines with few slots stand behind one gate with keys, limits and budgets on. Clients come at random times, at
`--times` what the engines can carry, from several keys; one key asks for as much as all others together. Some hang up
in mid-stream. Exits with 1 unless every client was refused with 429 and Retry-After or read its whole, right answer,
admitted requests kept the promised TTFT, the gate's memory stayed flat, and the engines stand idle afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop
from bench_gate import free_port, running
from bench_peers import HUGE, Started
from load_client import at_percentile

from polyfleet.database import open_database
from polyfleet.drill.answer import Answer
from polyfleet.drill.asks import Ask, asks
from polyfleet.drill.client import read_all, read_one
from polyfleet.drill.judge import Outcome, judge
from polyfleet.gate.keys.store import create_key
from polyfleet.terms.route import Route, Routes

MOCK = Path(__file__).resolve().parent / "mock_upstream.py"
KEYS, GREEDY = 4, 0
KINDS = 32


@dataclass(slots=True)
class Seen:
    """All clients together; times in ms, memory in MiB by second."""

    outcomes: Counter[str] = field(default_factory=Counter)
    admitted: Counter[int] = field(default_factory=Counter)
    ttft_ms: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    retry_after: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    most_waiting: int = 0

    def add(self, key: int, answer: Answer, right: Answer) -> None:
        """Adds one client that did not hang up."""
        if answer.status == 429 and answer.retry_after is not None:
            self.outcomes["refused"] += 1
            self.retry_after[answer.retry_after] += 1
            return
        found = judge(right, answer)
        if found.outcome is Outcome.EQUAL:
            self.outcomes["whole"] += 1
            self.admitted[key] += 1
            self.ttft_ms.append((answer.first_s or 0.0) * 1000)
            return
        self.outcomes[f"wrong: {found.outcome}"] += 1
        if len(self.problems) < 10:
            self.problems.append(f"HTTP {answer.status}: {found.detail}")


@dataclass(frozen=True, slots=True)
class Setting:
    """Engines, their pace, and the load."""

    engines: int
    slots: int
    gap_ms: float
    tokens: int
    times: float
    seconds: float
    hangups: float
    max_wait_s: float

    @property
    def capacity_per_s(self) -> float:
        """Streams that the engines finish in a second."""
        return self.engines * self.slots / ((self.tokens + 3) * self.gap_ms / 1000)


async def soak(setting: Setting, endpoint: str, keys: list[str], right: list[Answer], pid: int) -> Seen:
    """Lets clients come for `setting.seconds`, then waits for the last."""
    seen, chance = Seen(), random.Random(7)
    asked = asks("mock", KINDS, setting.tokens)
    sampling = asyncio.create_task(_sample(seen, pid))
    running_clients: set[asyncio.Task[None]] = set()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as client:
        until = due = time.monotonic()
        until += setting.seconds
        while due < until:
            due += chance.expovariate(setting.capacity_per_s * setting.times)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            key = GREEDY if chance.random() < 0.5 else chance.randrange(1, KEYS)
            ask = asked[chance.randrange(KINDS)]
            gone = chance.random() < setting.hangups
            one = _hang_up(client, endpoint, ask, keys[key], seen) if gone else None
            one = one or _ask(client, endpoint, ask, key, keys[key], right[ask.index], seen)
            task = asyncio.create_task(one)
            running_clients.add(task)
            task.add_done_callback(running_clients.discard)
            seen.most_waiting = max(seen.most_waiting, len(running_clients))
        if running_clients:
            await asyncio.wait(running_clients)
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    return seen


async def _ask(
    client: aiohttp.ClientSession, endpoint: str, ask: Ask, key: int, secret: str, right: Answer, seen: Seen
) -> None:
    client_of_key = _WithKey(client, secret)
    answer = await read_one(client_of_key, endpoint, ask, 120.0, lambda _index: None)  # type: ignore[arg-type]
    seen.add(key, answer, right)


class _WithKey:
    """A session that presents one key."""

    def __init__(self, client: aiohttp.ClientSession, secret: str) -> None:
        self._client, self._headers = client, {"Authorization": f"Bearer {secret}"}

    def post(self, url: str, **options: object) -> object:
        return self._client.post(url, headers=self._headers, **options)  # type: ignore[arg-type]


async def _hang_up(client: aiohttp.ClientSession, endpoint: str, ask: Ask, secret: str, seen: Seen) -> None:
    """Reads a little and goes."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        headers = {"Authorization": f"Bearer {secret}"}
        async with client.post(endpoint + ask.path, json=ask.body, headers=headers) as response:
            if response.status == 200:
                await response.content.readany()
            response.close()
    seen.outcomes["hung up"] += 1


async def _sample(seen: Seen, pid: int) -> None:
    while True:
        seen.rss_mib.append(rss_mib(pid))
        await asyncio.sleep(1.0)


def rss_mib(pid: int) -> float:
    """Resident memory of a process and all below it."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/status").read_text()
            total += int(text.partition("VmRSS:")[2].split()[0])
            for thread in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (thread / "children").read_text().split()]
    return total / 1024


def growth_mib(samples: list[float]) -> float:
    """Last quarter over second quarter, medians: what came after warming up."""
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[-quarter:]) - statistics.median(samples[quarter : 2 * quarter])


def idle_after(ports: list[int], limit_s: float = 10.0) -> list[dict[str, int]]:
    """What the engines saw, as soon as none is at work, or at the end of the limit."""
    until = time.monotonic() + limit_s
    while True:
        stats = []
        for port in ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/mock/stats", timeout=5) as told:
                stats.append(json.loads(told.read()))
        if not any(one["active"] for one in stats) or time.monotonic() > until:
            return stats
        time.sleep(0.1)


def _started_gate(ports: list[int], setting: Setting, scratch: Path, port: int) -> tuple[Started, list[str]]:
    state = f"sqlite:///{scratch / 'state.db'}"
    engine = open_database(state)
    limits = {"budget_usd": HUGE, "per_s": 30 * 86400, "rate_requests_per_min": HUGE}
    keys = [create_key(engine, f"soak-{index}", models=("mock",), **limits) for index in range(KEYS)]
    engine.dispose()
    routes = [
        Route(
            id=f"mock-{index}",
            url=f"http://127.0.0.1:{one}",
            engine="vllm",
            served=("mock",),
            slots=setting.slots,
            context_tokens=100_000,
            usd_per_m_output=0.2,
        )
        for index, one in enumerate(ports)
    ]
    file = scratch / "routes.json"
    file.write_text(Routes(routes=tuple(routes)).model_dump_json())
    options = ["--routes", str(file), "--state", state, "--host", "127.0.0.1", "--port", str(port)]
    options += ["--max-wait", str(setting.max_wait_s)]
    return Started([sys.executable, "-m", "polyfleet", "gate", *options]), keys


async def _ready(port: int, log: Path) -> None:
    async with aiohttp.ClientSession() as client:
        for _ in range(300):
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with client.get(f"http://127.0.0.1:{port}/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise SystemExit(f"nothing is ready on port {port}\n{log.read_text(errors='replace')[-2000:]}")


def run(setting: Setting, scratch: Path) -> tuple[Seen, list[dict[str, int]]]:
    """Starts everything, soaks, and looks at the engines afterwards."""
    ports = [free_port() for _ in range(setting.engines)]
    with contextlib.ExitStack() as stack:
        for index, port in enumerate(ports):
            options = ["--port", str(port), "--slots", str(setting.slots), "--gap-ms", str(setting.gap_ms)]
            mock = Started([sys.executable, str(MOCK), *options])
            stack.enter_context(running(mock, 0, scratch / f"mock-{index}.log"))
        port, log = free_port(), scratch / "gate.log"
        started, keys = _started_gate(ports, setting, scratch, port)
        gate = stack.enter_context(running(started, 1, log))

        async def play() -> Seen:
            for one in ports:
                await _ready(one, log)
            await _ready(port, log)
            right = await read_all(f"http://127.0.0.1:{ports[0]}", asks("mock", KINDS, setting.tokens))
            return await soak(setting, f"http://127.0.0.1:{port}", keys, right, gate.pid)

        seen = uvloop.run(play())
        return seen, idle_after(ports)


def told(setting: Setting, seen: Seen, engines: list[dict[str, int]], ttft_ms: float, growth: float) -> bool:
    """Prints what was seen; gives whether all of it is as promised."""
    wrong = sum(count for name, count in seen.outcomes.items() if name.startswith("wrong"))
    admitted = seen.outcomes["whole"]
    p99 = at_percentile(seen.ttft_ms, 99) if seen.ttft_ms else float("inf")
    grown, busy = growth_mib(seen.rss_mib), sum(one["active"] for one in engines)
    print(f"capacity {setting.capacity_per_s:.0f} streams/s, load {setting.times:g} times that, {setting.seconds:g} s")
    print(f"clients: {sum(seen.outcomes.values())}; {dict(sorted(seen.outcomes.items()))}; at once {seen.most_waiting}")
    print(f"admitted {admitted / setting.seconds:.1f}/s by key {dict(sorted(seen.admitted.items()))} (0 is greedy)")
    if seen.ttft_ms:
        p50 = at_percentile(seen.ttft_ms, 50)
        print(f"TTFT of the admitted: P50 {p50:.0f} ms, P99 {p99:.0f} ms (promised {ttft_ms:g})")
    print(f"Retry-After: {seen.retry_after.most_common(5)}")
    first, last = seen.rss_mib[0], seen.rss_mib[-1]
    print(f"memory: {first:.0f} MiB at first, {last:.0f} at last, grown by {grown:.1f} after warm-up")
    print(f"engines afterwards: {busy} busy, {sum(one['aborted'] for one in engines)} answers cancelled")
    for problem in seen.problems:
        print(f"  {problem}")
    return not wrong and bool(admitted) and p99 <= ttft_ms and grown <= growth and not busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--times", type=float, default=5.0, help="load over capacity")
    parser.add_argument("--engines", type=int, default=3)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--gap-ms", type=float, default=10.0, help="pace of the engines' tokens")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--hangups", type=float, default=0.05, help="share of clients that go in mid-stream")
    parser.add_argument("--max-wait-s", type=float, default=2.0, help="who would wait longer is refused")
    parser.add_argument("--ttft-ms", type=float, default=5000.0, help="promise to the admitted at P99")
    parser.add_argument("--growth-mib", type=float, default=16.0, help="growth of memory that is still flat")
    options = parser.parse_args()
    setting = Setting(
        options.engines,
        options.slots,
        options.gap_ms,
        options.tokens,
        options.times,
        options.minutes * 60,
        options.hangups,
        options.max_wait_s,
    )
    with tempfile.TemporaryDirectory(prefix="soak-gate-") as scratch:
        seen, engines = run(setting, Path(scratch))
    if not told(setting, seen, engines, options.ttft_ms, options.growth_mib):
        print("NOT as promised")
        raise SystemExit(1)
    print("as promised")


if __name__ == "__main__":
    main()
