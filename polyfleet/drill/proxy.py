"""A TCP proxy between the gate and a replica that breaks what passes through it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from enum import StrEnum
from typing import cast
from urllib.parse import urlsplit

_STREAM = b"text/event-stream"
_END = b"0\r\n\r\n"
"""The end of an answer that comes in chunks."""


class Mode(StrEnum):
    """What a proxy does with what the replica says from now on."""

    PASS = "pass"
    SLOW = "slow"
    FREEZE = "freeze"


class FaultProxy:
    """Listens on a port of its own and passes everything on to `target` (an http:// address), until told otherwise.

    A connection is in flight from the first byte of a streamed answer to its last.
    """

    def __init__(self, target: str, *, slow_ms: float = 100.0, seed: int = 0) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.slow_ms = slow_ms
        self.mode = Mode.PASS
        self.chance = random.Random(seed)
        self.changed = asyncio.Event()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Starts to listen; gives the address to use instead of the target's."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stops listening and closes all connections."""
        if self._server is not None:
            self._server.close()
        self.turn(Mode.PASS)
        for pair in list(self._pairs):
            pair.cut()
        await asyncio.gather(*(pair.ended.wait() for pair in list(self._pairs)))

    @property
    def in_flight(self) -> int:
        return sum(pair.answering for pair in self._pairs)

    def turn(self, mode: Mode) -> None:
        """From now on."""
        self.mode = mode
        self.changed.set()
        self.changed = asyncio.Event()

    def cut(self) -> int:
        """Resets every connection in flight, once; new ones pass. Gives how many."""
        return sum(pair.cut() for pair in list(self._pairs) if pair.answering)

    def garble(self) -> int:
        """Overwrites 16 bytes of what comes next on every connection in flight, once. Gives how many."""
        armed = [pair for pair in self._pairs if pair.answering]
        for pair in armed:
            pair.garble = True
        return len(armed)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(self, reader, writer, far_reader, far_writer)
        self._pairs.add(pair)
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)


class _Pair:
    """A connection of the gate and its other half to the replica."""

    def __init__(
        self,
        proxy: FaultProxy,
        near_reader: asyncio.StreamReader,
        near: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far: asyncio.StreamWriter,
    ) -> None:
        self._proxy, self._near_reader, self._near = proxy, near_reader, near
        self._far_reader, self._far = far_reader, far
        self.answering = False
        self.garble = False
        self._begins, self._streams = True, False
        self.ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Both ways, until one ends."""
        self._tasks = [asyncio.create_task(self._ask()), asyncio.create_task(self._tell())]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._near.close()
            self._far.close()
            self.answering = False
            self.ended.set()

    def cut(self) -> bool:
        """Resets the gate's side."""
        _reset(self._near)
        for task in self._tasks:
            task.cancel()
        return True

    async def _ask(self) -> None:
        while data := await self._near_reader.read(65_536):
            self.answering, self._begins = False, True
            self._far.write(data)
            await self._far.drain()

    async def _tell(self) -> None:
        while data := await self._far_reader.read(65_536):
            await self._pause()
            if self.garble:
                data, self.garble = garbled(data, self._proxy.chance), False
            self._near.write(data)
            if self._begins:
                self._begins, self._streams = False, _STREAM in data[:4096].lower()
            self.answering = self._streams and not data.endswith(_END)
            await self._near.drain()

    async def _pause(self) -> None:
        while self._proxy.mode is Mode.FREEZE:
            await self._proxy.changed.wait()
        if self._proxy.mode is Mode.SLOW:
            await asyncio.sleep(self._proxy.slow_ms / 1000)


def garbled(data: bytes, chance: random.Random) -> bytes:
    """Up to 16 bytes of `data` overwritten by others that no UTF-8 text has."""
    length = min(16, len(data))
    start = chance.randrange(len(data) - length + 1)
    noise = bytes(chance.choice((0xC0, 0xF8, 0xFE, 0xFF)) for _ in range(length))
    return data[:start] + noise + data[start + length :]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes with a reset (RST) instead of an orderly end."""
    sock = cast("socket.socket | None", writer.get_extra_info("socket"))
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
