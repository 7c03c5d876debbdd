"""A load generator on raw asyncio: every connection asks again as soon as its answer is whole.

It reads no more of an answer than its end, so that it does not become what a bench measures; `read_whole` reads one
answer in full and is asked first.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit


@dataclass(slots=True)
class Load:
    """What one run of `seconds` saw: answers per second, latencies in ms (sorted), and what was no whole answer."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    firsts_ms: list[float] = field(default_factory=list)
    bad: int = 0
    first_bad: str = ""

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def latency_ms(self, percentile: float) -> float:
        return at_percentile(self.latencies_ms, percentile)


def at_percentile(values: list[float], percentile: float) -> float:
    """The smallest value that `percentile` % of all do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percentile / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Shot:
    """One request, ready to be sent, and what its answer must end with (before the end of the transfer)."""

    host: str
    port: int
    raw: bytes
    must_have: bytes


def shot(url: str, body: bytes, must_have: bytes, headers: Mapping[str, str] | None = None) -> Shot:
    """A POST of JSON."""
    parts = urlsplit(url)
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return Shot(parts.hostname or "", parts.port or 80, head.encode() + body, must_have)


async def load(shots: list[Shot], seconds: float, *, count: int | None = None) -> Load:
    """One connection by shot, asking again and again for `seconds` (or until `count` answers in all)."""
    result = Load()
    run = _Run(result, count)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    tasks = [asyncio.create_task(run.connection(one)) for one in shots]
    timer = loop.call_later(seconds, run.stop.set)
    await run.stop.wait()
    result.seconds = time.perf_counter() - started
    timer.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return result


class _Run:
    def __init__(self, result: Load, count: int | None) -> None:
        self.result, self.count, self.stop = result, count, asyncio.Event()

    async def connection(self, one: Shot) -> None:
        """Keeps one connection open; opens it anew where the server closes it."""
        while not self.stop.is_set():
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            try:
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda ended=ended: _Connection(self, one, ended), one.host, one.port
                )
            except OSError as error:
                self.told_bad(f"no connection: {error}")
                await asyncio.sleep(0.01)
                continue
            try:
                await ended
            finally:
                transport.abort()

    def told(self, latency_s: float, first_s: float) -> None:
        if self.stop.is_set():
            return
        self.result.latencies_ms.append(latency_s * 1000)
        self.result.firsts_ms.append(first_s * 1000)
        if self.count is not None and len(self.result.latencies_ms) >= self.count:
            self.stop.set()

    def told_bad(self, what: str) -> None:
        if not self.stop.is_set():
            self.result.bad += 1
            self.result.first_bad = self.result.first_bad or what


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run, one: Shot, ended: asyncio.Future[None]) -> None:
        self._run, self._one, self._ended = run, one, ended
        self._asked, self._first, self._parts, self._size = 0.0, 0.0, [b""][:0], 0
        self._length: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._parts:
            self._run.told_bad(f"closed in mid-answer: {exc!r}")
        if not self._ended.done():
            self._ended.set_result(None)

    def _ask(self) -> None:
        self._parts, self._size, self._length = [], 0, None
        self._asked = time.perf_counter()
        self._transport.write(self._one.raw)

    def data_received(self, data: bytes) -> None:
        if not self._parts:
            self._first = time.perf_counter() - self._asked
        self._parts.append(data)
        self._size += len(data)
        if self._length is None and not self._read_head():
            return
        if self._length == -1:
            tail = data if len(data) >= 7 else b"".join(self._parts[-7:])
            if not tail.endswith(b"\r\n0\r\n\r\n"):
                return
        elif self._size < (self._length or 0):
            return
        self._whole()

    def _read_head(self) -> bool:
        read = b"".join(self._parts)
        end = read.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = read[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        self._length = -1 if at < 0 else end + 4 + int(head[at + 17 :].partition(b"\r\n")[0])
        return True

    def _whole(self) -> None:
        answer = b"".join(self._parts)
        if answer.startswith(b"HTTP/1.1 200") and self._one.must_have in answer:
            self._run.told(time.perf_counter() - self._asked, self._first)
        else:
            self._run.told_bad(answer[:300].decode(errors="replace"))
        if not self._run.stop.is_set():
            self._ask()
