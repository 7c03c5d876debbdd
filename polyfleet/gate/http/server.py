"""HTTP towards clients: aiohttp's server and parser, with what a public port needs beside them.

Of aiohttp the connection handling and the parser (llhttp) are used, which refuse smuggled and broken requests; answers
are written straight to the connection (see Client), since one await a piece costs more than the piece.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import getrandbits
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from polyfleet.gate.http.client import Client
from polyfleet.gate.http.faults import Fault, fault_body, fault_event
from polyfleet.gate.http.headers import request_id_of

_LOG = logging.getLogger(__name__)
STOPPED = "gate_stopped"
_LOOK_EVERY_S = 0.05
_BACK_AFTER_S = 5
Handle = Callable[[web.BaseRequest, Client], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """What one connection may take. `stalled_client_s`: a client that reads nothing for so long is let go."""

    body_bytes: int = 64 * 2**20
    head_s: float = 15.0
    body_s: float = 60.0
    stalled_client_s: float = 120.0
    idle_s: float = 75.0


class GateServer(web.Server):
    """A low-level server of aiohttp's: one handler for everything."""

    def __init__(self, handle: Handle, limits: Limits) -> None:
        self.limits = limits
        self._handle = handle
        super().__init__(
            self._answer,  # type: ignore[arg-type]  # aiohttp wants its own response; see _Sent
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=limits.idle_s,
            lingering_time=2.0,
            auto_decompress=False,
            logger=_LOG,
        )

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def _make_request(self, *parts: Any) -> web.BaseRequest:
        return web.BaseRequest(*parts, self._loop, client_max_size=self.limits.body_bytes)  # type: ignore[misc, arg-type]  # as aiohttp itself calls it

    async def _answer(self, request: web.BaseRequest) -> _Sent:
        connection = request.protocol
        client = Client(
            request.transport,
            request_id_of(request.headers, f"req-{getrandbits(96):024x}"),
            http_11=request.version >= (1, 1),
            keep_alive=request.keep_alive and not self.closing,
            head_only=request.method == "HEAD",
        )
        connection.client = client  # type: ignore[attr-defined]  # a _Connection
        try:
            await self._handle(request, client)
        except Fault as fault:
            if not client.started:
                client.whole(fault.status, fault.headers, fault.body)
        except Exception:
            _LOG.exception("request %s failed within the gate", client.request_id)
            _say_broken(client)
        finally:
            connection.client = None  # type: ignore[attr-defined]  # as above
        return _Sent(client.keep_alive and not self.closing, client.status)

    closing = False

    async def drain(self, limit_s: float) -> None:
        """Until nobody waits for an answer; whoever still does at the limit is told that the gate ends."""
        until = self._loop.time() + limit_s
        while self._waiting() and self._loop.time() < until:
            await asyncio.sleep(_LOOK_EVERY_S)
        for client in self._waiting():
            _say_stopped(client)
        await self.shutdown(_LOOK_EVERY_S)

    def _waiting(self) -> list[Client]:
        clients = [getattr(connection, "client", None) for connection in self.connections]
        return [client for client in clients if client is not None and not client.finished]


class _Sent:
    """What aiohttp asks of an answer, for one that is written already."""

    __slots__ = ("keep_alive", "status")

    def __init__(self, keep_alive: bool, status: int) -> None:
        self.keep_alive, self.status = keep_alive, status

    async def prepare(self, _request: web.BaseRequest) -> None:
        return None

    async def write_eof(self) -> None:
        return None


class _Connection(RequestHandler):
    """One client's connection. A head must be whole in `head_s`: who sends it byte by byte is let go."""

    def __init__(self, server: GateServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.client: Client | None = None
        self._limits = server.limits
        self._stalled: asyncio.TimerHandle | None = None
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head = self._loop.call_later(self._limits.head_s, self._head_is_due, self._request_count)

    def _head_is_due(self, seen: int) -> None:
        if self._request_count == seen and self.transport is not None:
            self.force_close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.client is not None and self.client.flow is not None:
            self.client.flow(True)
        self._stalled = self._loop.call_later(self._limits.stalled_client_s, self._let_go)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
        if self.client is not None and self.client.flow is not None:
            self.client.flow(False)

    def _let_go(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in (self._head, self._stalled):  # a running one keeps the connection's memory
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp hands it
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp hands it
    ) -> web.StreamResponse:
        """What the parser refuses: in OpenAI's form, and without a traceback in the log."""
        if exc is not None and status >= 500:
            _LOG.error("a request failed within the gate", exc_info=exc)
        told = "the request is not sound HTTP/1.1" if status < 500 else "the gate failed"
        answer = web.Response(status=status, body=fault_body(status, "bad_request", told))
        answer.content_type = "application/json"
        answer.force_close()
        return answer


async def read_body(request: web.BaseRequest, client: Client, limits: Limits) -> bytes:
    """The whole body. Raises Fault: 413 too large, 408 too slow, 400 broken."""
    declared = request.content_length
    if declared is not None and declared > limits.body_bytes:
        client.close_after()
        raise _too_large(limits)
    if request.headers.get("expect", "").lower() == "100-continue" and client.transport is not None:
        client.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if request._read_bytes is None and declared is not None and request.content.is_eof():
            return await request.read()
        async with asyncio.timeout(limits.body_s):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        client.close_after()
        raise _too_large(limits) from None
    except TimeoutError:
        client.close_after()
        raise Fault(408, "body_too_slow", f"the body did not come within {limits.body_s:.0f} s") from None
    except (web.RequestPayloadError, ValueError):
        client.close_after()
        raise Fault(400, "bad_request", "the body is not sound") from None


def _too_large(limits: Limits) -> Fault:
    return Fault(413, "body_too_large", f"a body may have {limits.body_bytes} bytes")


def _say_stopped(client: Client) -> None:
    told = "the gate was stopped before this was answered"
    if client.started:
        client.write(fault_event(503, STOPPED, told))
        client.finish()
        client.status = 503
    else:
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"%d" % _BACK_AFTER_S)]
        client.close_after()
        client.whole(503, headers, fault_body(503, STOPPED, told))
    client.error, client.transport = STOPPED, None  # whatever comes now is too late


def _say_broken(client: Client) -> None:
    if not client.started:
        client.whole(500, [(b"content-type", b"application/json")], fault_body(500, "gate_failed", "the gate failed"))
        return
    if not client.finished:
        client.write(fault_event(500, "gate_failed", "the gate failed"))
        client.finish()
