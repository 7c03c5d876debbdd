"""A client of the fuzz: one connection that speaks raw bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: the connection was closed without one."""

    status: int = 0
    body: bytes = b""
    closes: bool = True


class Connection:
    """One connection that speaks raw bytes; reset, not closed, so that no port is left waiting."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.last = "nothing"

    @classmethod
    async def to(cls, port: int) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        plug = writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        return cls(reader, writer)

    async def answer(self, method: bytes = b"POST") -> Answer:
        """The next answer; none where the gate closes first."""
        try:
            while (head := await self._reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].startswith(b"1"):
                pass
            low = head.lower()
            closes = b"connection: close" in low or head.startswith(b"HTTP/1.0")
            return Answer(int(head.split(b" ", 2)[1]), await self._body(low, method), closes)
        except (asyncio.IncompleteReadError, ConnectionError, IndexError, ValueError):
            return Answer()

    async def _body(self, head: bytes, method: bytes) -> bytes:
        if method == b"HEAD":
            return b""
        if b"transfer-encoding: chunked" not in head:
            _, found, length = head.partition(b"content-length: ")
            return await self._reader.readexactly(int(length.split(b"\r")[0])) if found else await self._reader.read()
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    def reset(self) -> None:
        self.writer.transport.abort()
