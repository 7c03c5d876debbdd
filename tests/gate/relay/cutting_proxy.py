"""Stands before an engine and cuts an answer where it is told to, once per request id, by a reset connection."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cutting_engine import served

_ID = re.compile(rb"x-request-id: (\S+)")


@dataclass
class CuttingProxy:
    """`cut`: bytes of an answer (its head included) that pass the first time; None: all. Side calls pass."""

    port: int
    cut: int | None = None
    seen: set[bytes] = field(default_factory=set)
    cuts: int = 0

    @asynccontextmanager
    async def serve(self):  # type: ignore[no-untyped-def]
        """Its address, while it runs."""
        async with served(self._connection) as port:
            yield f"http://127.0.0.1:{port}"

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = await reader.readuntil(b"\r\n\r\n")
        up_writer.write(head.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
        upward = asyncio.ensure_future(_pass(reader, up_writer))
        try:
            found = _ID.search(head)
            left = self.cut if found and b" /v1/" in head and found[1] not in self.seen else None
            if found and left is not None:
                self.seen.add(found[1])
            while data := await up_reader.read(65536):
                if left is not None and len(data) > left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    break
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            upward.cancel()
            writer.transport.abort()
            up_writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
