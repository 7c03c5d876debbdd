"""What an attempt at one request is: how it ends, and the answer that is not streamed."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from polyfleet.gate.http.upstream import Exchange, UpstreamFailed
from polyfleet.gate.pool.flight import Flight
from polyfleet.gate.pool.health import Standing
from polyfleet.gate.pool.pool import Pool


class LegEnd(NamedTuple):
    """How an attempt ended.

    `whole`: the upstream said all that it had to say (`status`; `body` where it was no stream). Else `reason`;
    `accepted` where the engine may have died of it, `stale` where a kept connection was dead.
    """

    whole: bool
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    reason: str = ""
    accepted: bool = False
    stale: bool = False
    stalled: bool = False


class Leg:
    """What all attempts share. `ended` comes true once."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.ended: asyncio.Future[LegEnd] = asyncio.get_running_loop().create_future()
        self.exchange: Exchange | None = None
        self.paused = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._plain: list[bytes] = []

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status, self.headers = status, headers
        self.flight.heard(status, headers)

    def failed(self, error: UpstreamFailed) -> None:
        self.close(LegEnd(False, reason=error.reason, accepted=error.accepted, stale=error.stale))

    def flow(self, paused: bool) -> None:
        """The client reads too slowly, or has caught up."""
        self.paused = paused
        if self.exchange is not None:
            self.exchange.pause() if paused else self.exchange.resume()

    def body(self, data: bytes) -> None:
        """A piece of the answer."""
        raise NotImplementedError  # each kind of leg has its own

    def is_stalled(self, pool: Pool) -> bool:
        """Whether it has been silent for too long; not while the client is what holds it up."""
        return not self.paused and pool.stalled(self.flight)

    def stall(self) -> None:
        """It has been silent for too long."""
        self.break_off(LegEnd(False, reason="stalled", accepted=True, stalled=True))

    def break_off(self, end: LegEnd) -> None:
        if self.exchange is not None:
            self.exchange.cancel()
        self.close(end)

    def close(self, end: LegEnd) -> None:
        exchange, self.exchange = self.exchange, None  # what it does from now on is another's
        if exchange is not None and self.paused:
            exchange.resume()
        if not self.ended.done():
            self.ended.set_result(end)

    def end(self) -> None:
        self.close(LegEnd(True, self.status, tuple(self.headers), b"".join(self._plain)))


class WholeLeg(Leg):
    """An answer that is not streamed: collected, and passed on only when it is whole."""

    def __init__(self, flight: Flight, most_bytes: int) -> None:
        super().__init__(flight)
        self._left = most_bytes

    def is_stalled(self, pool: Pool) -> bool:
        """An answer that is not streamed is silent until it is whole: its route's probes tell whether it lives. Where
        they do not (the last route is never ejected), only many times what it should take."""
        flight, lane = self.flight, self.flight.lane
        if lane.health.state is Standing.EJECTED and lane.health.reason == "probes":
            return flight.silent_s > 1.0
        tokens = pool.expected_output(flight.model, flight.ask.output_tokens)
        return flight.silent_s > 4.0 * (flight.stall_after_s + 10.0 * tokens * max(lane.gap_peak.value, 0.1))

    def body(self, data: bytes) -> None:
        self.flight.tokens(0)
        self._left -= len(data)
        if self._left < 0:
            self.break_off(LegEnd(False, reason="the answer is too large"))
        self._plain.append(data)
