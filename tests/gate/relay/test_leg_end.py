"""A leg that has ended has no hold on its connection any more: that may be another request's by then."""

from __future__ import annotations

import asyncio

import pytest

from polyfleet.gate.http.upstream import UpstreamFailed
from polyfleet.gate.relay.leg import LegEnd, WholeLeg


class Recorded:
    """A connection that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def cancel(self) -> None:
        self.told.append("cancel")


ENDS = {
    "whole": lambda leg: leg.end(),
    "failed": lambda leg: leg.failed(UpstreamFailed("reset", accepted=True)),
    "closed": lambda leg: leg.close(LegEnd(True, 200)),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_after_its_end_a_leg_neither_breaks_off_nor_pauses_the_connection(end):
    async def test():
        connection, leg = Recorded(), WholeLeg(None, 10)
        leg.exchange = connection
        end(leg)
        leg.flow(True)
        leg.break_off(LegEnd(False, reason="the client went away"))
        assert leg.exchange is None
        assert connection.told == []

    asyncio.run(test())


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_connection_is_never_given_on_paused(end):
    async def test():
        connection, leg = Recorded(), WholeLeg(None, 10)
        leg.exchange = connection
        leg.flow(True)
        end(leg)
        assert connection.told == ["pause", "resume"]

    asyncio.run(test())


def test_before_its_end_a_leg_breaks_its_connection_off():
    async def test():
        connection, leg = Recorded(), WholeLeg(None, 10)
        leg.exchange = connection
        leg.stall()
        assert connection.told == ["cancel"]
        assert leg.ended.result().stalled

    asyncio.run(test())
