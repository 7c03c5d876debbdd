"""Requests to engines: HTTP/1.1 over pooled connections, answers handed over as they arrive.

Why not aiohttp's client: measured on one core, it costs more than a whole relayed stream costs here, and it hands bytes
to a coroutine where a callback is enough. An engine is not a browser: what is read here is HTTP/1.1 with a
length, chunks, or an end of connection, and anything else fails the attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Protocol, cast
from urllib.parse import urlsplit

from polyfleet.gate.http.answer_reader import AnswerReader, BadAnswer

IDLE_S = 4.0
"""A connection idle for longer is not used again: llama.cpp closes after 5 s."""
IDLE_TLS_S = 30.0
"""With TLS, where making one costs more and hosts keep them for a minute or longer."""

Host = tuple[str, int, bool]
"""Name, port, and whether with TLS."""


class UpstreamFailed(Exception):
    """An attempt ended without a whole answer.

    `accepted`: the request may have reached the engine, so that it may have been the cause. `stale`: the connection had
    been used before and closed before a byte came, as engines do with idle ones.
    """

    def __init__(self, reason: str, *, accepted: bool, stale: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.accepted, self.stale = reason, accepted, stale


class Sink(Protocol):
    """Who is told of an answer, in this order, by plain calls out of the event loop: `head` once, `body` any number of
    times, then `end` or `failed` once. Nothing is told after `Exchange.cancel`."""

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None: ...
    def body(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def failed(self, error: UpstreamFailed) -> None: ...


class Exchange(asyncio.Protocol):
    """One connection and the request on it."""

    __slots__ = ("_heard", "_pool", "_reader", "_sink", "_used", "host", "idle_since", "transport")

    def __init__(self, pool: Upstream, host: Host) -> None:
        self._pool, self.host = pool, host
        self.transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._reader: AnswerReader | None = None
        self._used = self._heard = False
        self.idle_since = 0.0

    def send(self, request: bytes, sink: Sink) -> None:
        """Send a whole request; the sink hears of its answer."""
        assert self.transport is not None
        self._sink, self._heard = sink, False
        self._reader = AnswerReader(sink.head, sink.body)
        self.transport.write(request)

    def cancel(self) -> None:
        """Break off: the connection is closed, which is how an engine learns that nobody listens."""
        self._sink = None
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is None or self._reader is None:
            self._close()  # nobody asked
            return
        self._heard = True
        try:
            whole = self._reader.feed(data)
        except BadAnswer as error:
            self._fail(str(error))
            return
        if whole and self._sink is not None:  # the sink may have broken off meanwhile
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._pool.forget(self)
        if self._sink is None:
            return
        if exc is None and self._reader is not None and self._reader.ends_with_connection:
            sink, self._sink = self._sink, None
            sink.end()
            return
        self._fail("connection reset" if exc is not None else "connection closed in the middle of an answer")

    def _finish(self) -> None:
        sink, reader, self._sink, self._reader = self._sink, self._reader, None, None
        assert sink is not None
        assert reader is not None
        if reader.keeps_alive and self.transport is not None and not self.transport.is_closing():
            self._used = True
            self._pool.keep(self)
        else:
            self._close()
        sink.end()

    def _fail(self, reason: str) -> None:
        sink, self._sink = self._sink, None
        stale = self._used and not self._heard
        self._close()
        if sink is not None:
            sink.failed(UpstreamFailed(reason, accepted=True, stale=stale))

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Upstream:
    """Connections to all engines; `connect_s` is how long one may take to be made, TLS included.

    Certificates are verified, against the system's authorities or those of SSL_CERT_FILE.
    """

    def __init__(self, *, connect_s: float = 5.0, idle_most: int = 256) -> None:
        self._connect_s, self._idle_most = connect_s, idle_most
        self._idle: dict[Host, list[Exchange]] = {}
        self._addresses: dict[str, Host] = {}
        self._tls: ssl.SSLContext | None = None

    async def connect(self, url: str, *, fresh: bool = False) -> Exchange:
        """A connection to the engine at `url`, used before unless `fresh`. Raises UpstreamFailed."""
        host = self._address(url)
        name, port, tls = host
        idle = self._idle.get(host)
        idle_s = IDLE_TLS_S if tls else IDLE_S
        while idle and not fresh:
            kept = idle.pop()
            if kept.transport is not None and monotonic() - kept.idle_since < idle_s:
                return kept
            kept.cancel()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, made = await loop.create_connection(
                    lambda: Exchange(self, host), name, port, ssl=self._context() if tls else None
                )
        except TimeoutError:
            raise UpstreamFailed("no connection in time", accepted=False) from None
        except ssl.SSLCertVerificationError as error:
            raise UpstreamFailed(f"its certificate is refused: {error.verify_message}", accepted=False) from None
        except ssl.SSLError as error:
            raise UpstreamFailed(f"no TLS: {error.reason or 'it does not speak it'}", accepted=False) from None
        except OSError as error:
            raise UpstreamFailed(error.strerror or "no connection", accepted=False) from None
        return made

    def _context(self) -> ssl.SSLContext:
        """Made once: reading the authorities takes longer than a handshake."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _address(self, url: str) -> Host:
        known = self._addresses.get(url)
        if known is None:
            parts = urlsplit(url)
            tls = parts.scheme == "https"
            known = self._addresses[url] = (parts.hostname or "", parts.port or (443 if tls else 80), tls)
        return known

    def keep(self, exchange: Exchange) -> None:
        idle = self._idle.setdefault(exchange.host, [])
        exchange.idle_since = monotonic()
        idle.append(exchange)
        if len(idle) > self._idle_most:
            idle.pop(0).cancel()

    def forget(self, exchange: Exchange) -> None:
        idle = self._idle.get(exchange.host)
        if idle and exchange in idle:
            idle.remove(exchange)

    def close(self) -> None:
        """Close what is idle; requests in flight go on."""
        for idle in self._idle.values():
            for exchange in list(idle):
                exchange.cancel()
        self._idle.clear()

    async def ask(
        self, url: str, request: bytes, *, timeout_s: float, most_bytes: int = 2**26, fresh: bool = False
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Send a request and wait for the whole answer. Raises UpstreamFailed, TimeoutError past `timeout_s`."""
        exchange = await self.connect(url, fresh=fresh)
        collected = Collected(asyncio.get_running_loop().create_future(), most_bytes)
        exchange.send(request, collected)
        try:
            async with asyncio.timeout(timeout_s):
                await collected.done
        except BaseException:
            exchange.cancel()
            raise
        return collected.status, collected.headers, b"".join(collected.parts)


class Collected:
    """A sink that keeps the whole answer."""

    def __init__(self, done: asyncio.Future[None], most_bytes: int, heard: Callable[[], None] | None = None) -> None:
        self.done, self._left, self._tell = done, most_bytes, heard
        self.status, self.headers, self.parts = 0, [], []  # type: int, list[tuple[bytes, bytes]], list[bytes]

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status, self.headers = status, headers

    def body(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.failed(UpstreamFailed("the answer is too large", accepted=True))
            return
        self.parts.append(data)
        if self._tell is not None:
            self._tell()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: UpstreamFailed) -> None:
        if not self.done.done():
            with contextlib.suppress(asyncio.InvalidStateError):
                self.done.set_exception(error)
