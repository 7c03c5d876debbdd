"""The door of a gate that asks for no keys."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine

from polyfleet.gate.keys.fold import KEEP_S
from polyfleet.gate.keys.passes import Estimate, Pass, Used
from polyfleet.gate.keys.rows import row_of
from polyfleet.gate.keys.teller import Teller, boot_s


class OpenDoor:
    """Lets everybody in. With a database it writes the ledger, under no key; without one it writes nothing."""

    def __init__(
        self, engine: Engine | None = None, *, clock: Callable[[], float] = boot_s, keep_s: float = KEEP_S
    ) -> None:
        self._teller = None if engine is None else Teller(engine, lambda _facts: None, clock=clock, keep_s=keep_s)

    async def start(self) -> None:
        """Raises SQLAlchemyError where the database fails."""
        if self._teller:
            await self._teller.start()

    async def close(self) -> None:
        """Writes the rest of the ledger. Raises SQLAlchemyError where it cannot."""
        if self._teller:
            await self._teller.close()

    async def admit(self, presented: str | None, model: str, estimate: Estimate) -> Pass:  # noqa: ARG002 - as the protocol says
        """Leave, whoever asks."""
        return Pass(None, model, admitted_at=time.time())

    async def check(self, presented: str | None) -> None:
        """Everybody is let in."""

    def settle(self, pass_: Pass, used: Used) -> None:
        """Counts once; further calls do nothing."""
        if pass_.use() is not None and self._teller:
            self._teller.ledger.append(row_of(pass_, used, time.time()))
