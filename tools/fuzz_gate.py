"""The gate under requests that no sound client sends, with sound ones in between.

    python tools/fuzz_gate.py --requests 100000 --seed 1

A real gate process with keys, in front of a mock engine. Exits with 1 on any 5xx of the gate's, a traceback in its log,
a request that is neither answered nor closed in time, a sound request that is not answered rightly, memory that grows
after warm-up, or anything still open at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import uvloop
from bench_gate import free_port, running
from bench_peers import Started
from fuzz_cases import KINDS, Case, Cases, Ends, sound_body
from fuzz_connection import Answer, Connection
from fuzz_judge import Seen, judge, said, told
from mock_answer import BadRequest
from mock_upstream import Mock
from soak_gate import rss_mib

from polyfleet.database import open_database
from polyfleet.gate.keys.store import create_key
from polyfleet.terms.route import Route, Routes

_HEAD_S = 15.0
"""How long the gate waits for a head; see Limits."""


class ToughMock(Mock):
    """Refuses what it does not understand, and what would take it long."""

    def at_once(self, path: str, body: bytes) -> bytes:
        try:
            asked = json.loads(body)
            if any((asked.get(name) or 0) > 64 for name in ("max_tokens", "max_completion_tokens")):
                raise BadRequest("too many tokens")
            return super().at_once(path, body)
        except BadRequest:
            raise
        except Exception as error:
            raise BadRequest(repr(error)) from None

    def tell(self, method: str, path: str, body: bytes) -> bytes:
        try:
            return super().tell(method, path, body)
        except Exception:
            return b'HTTP/1.1 400 Bad Request\r\ncontent-length: 12\r\n\r\n{"error":{}}'


class Fuzz:
    """Cases by several clients at once, each connection used again where its last case left it sound."""

    def __init__(self, port: int, pid: int, right: dict[int, str], limit_s: float) -> None:
        self._port, self._pid, self._right, self._limit_s = port, pid, right, limit_s
        self.seen = Seen()

    async def run(self, cases: Iterator[Case], count: int, clients: int, loris: int) -> None:
        slow = [asyncio.ensure_future(self._slow_loris()) for _ in range(loris)]
        left, every = iter(range(count)), max(1, count // 40)

        async def client() -> None:
            connection: Connection | None = None
            for index in left:
                if index % every == 0:
                    self.seen.rss_mib.append(rss_mib(self._pid))
                connection = await self._one(next(cases), connection)
            if connection is not None:
                connection.reset()

        await asyncio.gather(*[client() for _ in range(clients)])
        await asyncio.gather(*slow)

    async def _one(self, case: Case, connection: Connection | None) -> Connection | None:
        """Plays a case; gives its connection where that can be used again."""
        connection = connection or await Connection.to(self._port)
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(self._limit_s):
                answers = await self._play(case, connection)
        except TimeoutError:
            self.seen.problem(f"{case.name}: neither answered nor closed in time, after {connection.last}", case.raw)
        connection.last = case.name
        if answers:
            judge(self.seen, case, answers, self._right)
        if case.name in {"sound", "page", "no key"} and answers and not answers[-1].closes:
            return connection
        connection.reset()
        return None

    async def _play(self, case: Case, connection: Connection) -> list[Answer]:
        with contextlib.suppress(ConnectionError):
            connection.writer.write(case.raw)
            if case.ends is Ends.GONE:
                return []
            await connection.writer.drain()
            if case.ends is Ends.CLOSED:
                connection.writer.write_eof()
        method = case.raw.split(b" ", 1)[0]
        answers = [await connection.answer(method)]
        while answers[-1].status and (len(answers) < len(case.right) or case.ends is Ends.CLOSED):
            answers.append(await connection.answer(method))
        return answers

    async def _slow_loris(self) -> None:
        """A head that never ends must be let go, and nothing else is held up by it."""
        connection = await Connection.to(self._port)
        closed = asyncio.ensure_future(connection.answer())
        began = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000:
            connection.writer.write(bytes([byte]))
            done, _ = await asyncio.wait([closed], timeout=0.2)
            if done:
                break
            if time.monotonic() - began > _HEAD_S + self._limit_s:
                self.seen.problem("slow loris: not let go", b"")
                closed.cancel()
                break
        connection.reset()


def still_open(port: int, pid: int) -> str:
    """What the gate still holds of its clients ('' where nothing): in flight by its own count, and sockets."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as told:
        lines = told.read().decode().splitlines()
    flying = [line for line in lines if line.startswith("polyfleet_in_flight") and float(line.split()[-1]) != 0]
    mine = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if _is_socket(link)}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    held = [row for row in rows if f"socket:[{row[9]}]" in mine and row[1].endswith(f":{port:04X}") and row[3] != "0A"]
    queued = [line for line in lines if line.startswith("polyfleet_queue{") and float(line.split()[-1]) != 0]
    return "; ".join([*flying, *queued, *([f"{len(held)} connections of clients"] if held else [])])


def _is_socket(link: Path) -> bool:
    with contextlib.suppress(OSError):
        return link.readlink().name.startswith("socket:")
    return False


async def _until_closed(port: int, pid: int, limit_s: float) -> str:
    """As `still_open`, once nothing is or the time is up."""
    until = time.monotonic() + limit_s
    while (held := await asyncio.to_thread(still_open, port, pid)) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return held


async def fuzz(options: argparse.Namespace, scratch: Path) -> tuple[Seen, str, float]:
    """Starts everything and plays; gives what was seen, what is still open, and the seconds that it took."""
    mock = ToughMock()
    server, upstream = await mock.serve()
    file, state, port, log = scratch / "routes.json", f"sqlite:///{scratch / 'state.db'}", free_port(), scratch / "log"
    route = Route(id="mock", url=f"http://127.0.0.1:{upstream}", engine="vllm", served=("mock",), context_tokens=4096)
    file.write_text(Routes(routes=(route,)).model_dump_json())
    database = open_database(state)
    key = create_key(database, "fuzz", budget_usd=1e6)
    database.dispose()
    command = [
        "-m",
        "polyfleet",
        "gate",
        "--routes",
        str(file),
        "--state",
        state,
        "--port",
        str(port),
        "--max-body",
        "1",
    ]
    with running(Started([sys.executable, *command]), options.core, log) as gate:
        await _ready(port, log)
        right = {number: said(await _direct(upstream, number)) for number in range(KINDS)}
        play, began = Fuzz(port, gate.pid, right, options.limit_s), time.monotonic()
        await play.run(iter(Cases(options.seed, key)), options.requests, options.clients, options.loris)
        took = time.monotonic() - began
        held = await _until_closed(port, gate.pid, options.limit_s)
        if gate.poll() is not None:
            play.seen.problem(f"the gate ended with {gate.returncode}", b"")
    server.close()
    lines = log.read_text(errors="replace")
    if "Traceback" in lines:
        play.seen.problem("a traceback in the log", lines[lines.index("Traceback") :][:3000].encode())
    return play.seen, held, took


async def _ready(port: int, log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            connection = await Connection.to(port)
            connection.writer.write(b"GET /ready HTTP/1.1\r\nhost: g\r\n\r\n")
            answer = await connection.answer()
            connection.reset()
            if answer.status == 200:
                return
        await asyncio.sleep(0.05)
    raise SystemExit(f"the gate is not ready\n{log.read_text(errors='replace')[-2000:]}")


async def _direct(port: int, number: int) -> bytes:
    """The engine's own answer."""
    body = json.dumps(sound_body(number)).encode()
    connection = await Connection.to(port)
    connection.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    answer = await connection.answer()
    connection.reset()
    return answer.body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=16, help="connections at once")
    parser.add_argument("--loris", type=int, default=8, help="connections that send a head byte by byte beside them")
    parser.add_argument("--limit-s", type=float, default=10.0, help="past it a case counts as hanging")
    parser.add_argument("--growth-mib", type=float, default=8.0, help="growth of memory that is still flat")
    parser.add_argument("--core", type=int, default=0, help="of the gate")
    parser.add_argument("--verbose", action="store_true", help="statuses by kind of case")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-gate-") as scratch:
        seen, held, took = uvloop.run(fuzz(options, Path(scratch)))
    if not told(seen, held, took, options):
        raise SystemExit("NOT as promised")
    print("as promised")


if __name__ == "__main__":
    main()
