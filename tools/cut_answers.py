"""Stands before an engine and cuts a streamed answer where it is told to, once per request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_ID = re.compile(rb"x-request-id: (\S+)")
Where = Callable[[bytes], int | None]
"""Of all bytes of an answer so far (its head included): how many may pass. None: all, for now."""


def at_byte(place: int) -> Where:
    return lambda so_far: place if len(so_far) >= place else None


def at_mark(pattern: bytes, *, after: bool = False) -> Where:
    """Before the first place that matches, or right after it."""
    mark = re.compile(pattern)

    def where(so_far: bytes) -> int | None:
        found = mark.search(so_far)
        return None if found is None else found.end() if after else found.start()

    return where


@dataclass
class AnswerCutter:
    """`where`: where the first answer to each request is cut; None: nowhere. `length` of the last whole answer."""

    target: str
    where: Where | None = None
    cuts: int = 0
    length: int = 0
    _seen: set[bytes] = field(default_factory=set)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Its address, while it runs."""
        running: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            running.add(task)
            task.add_done_callback(running.discard)

        server = await asyncio.start_server(begin, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.target)
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
        upward = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            up_writer.write(head.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
            upward = asyncio.ensure_future(_pass(reader, up_writer))
            found = _ID.search(head)
            request_id = found[1] if found and head.startswith(b"POST /v1/") else b""
            where = self.where if request_id and request_id not in self._seen else None
            self._seen.add(request_id)
            length = await self._answer(up_reader, writer, where)
            self.length = length if request_id else self.length
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if upward is not None:
                upward.cancel()
            writer.transport.abort()
            up_writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: Where | None) -> int:
        so_far, passed = b"", 0
        while data := await reader.read(65536):
            so_far += data
            most = where(so_far) if where else None
            writer.write(so_far[passed:most])
            await writer.drain()
            passed = len(so_far)
            if most is not None:
                self.cuts += 1
                break
        return len(so_far)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
