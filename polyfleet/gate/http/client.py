"""The client's side of one answer: written straight to the connection, one piece a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyfleet.gate.seen.access_log import AccessLine
    from polyfleet.gate.seen.traces import Trace

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Client:
    """One answer to one request. Nothing is written once the client is gone.

    `flow`, where set, is told True when the client reads too slowly and False when it has caught up. `error` is the
    code that the client got; `told` adds to a line of the access log what became of the request; `trace` is there where
    traces are on.
    """

    __slots__ = (
        "_chunked",
        "_close",
        "_head_only",
        "_waiting",
        "error",
        "finished",
        "flow",
        "request_id",
        "started",
        "status",
        "told",
        "trace",
        "transport",
    )

    def __init__(
        self, transport: asyncio.Transport | None, request_id: str, *, http_11: bool, keep_alive: bool, head_only: bool
    ) -> None:
        self.transport, self.request_id = transport, request_id
        self._chunked = http_11
        self._close = not keep_alive or not http_11
        self._head_only = head_only
        self.started = self.finished = False
        self.status = 0
        self._waiting = b""
        self.flow: Callable[[bool], None] | None = None
        self.error = ""
        self.told: Callable[[AccessLine], AccessLine] | None = None
        self.trace: Trace | None = None

    @property
    def keep_alive(self) -> bool:
        return self.finished and not self._close

    def close_after(self) -> None:
        """The connection ends with this answer."""
        self._close = True

    @property
    def gone(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """The whole answer at once."""
        self._write(self._head(status, headers) + b"content-length: %d\r\n\r\n" % len(body), body)
        self.finished = True

    def start(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The head of a stream; it goes out with the first piece, in one write."""
        end = b"transfer-encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"
        self._waiting = self._head(200, headers) + end

    def write(self, data: bytes, *, last: bool = False) -> None:
        """A piece of a stream; with `last` its end, too."""
        if self._chunked and data:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if last else b"%x\r\n%b\r\n" % (len(data), data)
        self.finished = self.finished or last
        self._write(self._waiting, data)
        self._waiting = b""

    def finish(self) -> None:
        """The end of a stream."""
        if not self.finished:
            self.finished = True
            self._write(self._waiting, b"0\r\n\r\n" if self._chunked else b"")

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        self.started, self.status = True, status
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        close = b"connection: close\r\n" if self._close else b""
        reason = _REASONS.get(status, b"")
        return b"HTTP/1.1 %d %b\r\nx-request-id: %b\r\n%b%b" % (status, reason, self.request_id.encode(), lines, close)

    def _write(self, head: bytes, body: bytes) -> None:
        transport = self.transport
        data = head if self._head_only else head + body
        if data and transport is not None and not transport.is_closing():
            transport.write(data)
