"""The door: who may ask, for how much. Admitting a request touches no database where its key was used of late."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Engine

from polyfleet.gate.keys.account import Account, Hold
from polyfleet.gate.keys.fold import KEEP_S
from polyfleet.gate.keys.passes import NANO, Estimate, Pass, Used
from polyfleet.gate.keys.refusals import model_not_allowed, no_such_key, state_silent, too_large, used_up
from polyfleet.gate.keys.rows import row_of
from polyfleet.gate.keys.store import KeyFacts, digest_of
from polyfleet.gate.keys.teller import Teller, boot_s

_PATIENCE_S = 0.8
"""How long a request waits for what other workers hold and do not need: two of their ticks and some."""
_SILENT_S = 3.0
"""How long it waits for a database that does not answer."""
_UNKNOWN_AT_ONCE = 200
_ROWS_IN_MEMORY = 500_000
_MOST = 1e9
"""No request uses as many tokens or USD: who says so is not believed."""


class _Known(NamedTuple):
    facts: KeyFacts
    accounts: tuple[Account, ...]


class Door:
    """Admits requests by their key and settles what they used. All calls from one event loop.

    Never lets in more than a key's budget and rates allow, together with all other workers on the same database. What
    a request may use at most is held from `admit` to `settle`; a pass that is never settled holds it for ever.
    """

    def __init__(
        self, engine: Engine, *, clock: Callable[[], float] = boot_s, lease_s: float = 120.0, usable_s: float = 10.0,
        keep_s: float = KEEP_S,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looking = 0
        self._teller = Teller(engine, self._heard_of, clock=clock, lease_s=lease_s, usable_s=usable_s, keep_s=keep_s)

    async def start(self) -> None:
        """Reads the keys. Raises SQLAlchemyError where the database fails."""
        await self._teller.start()

    async def close(self) -> None:
        """Writes the rest of the ledger, gives back what is not in flight. Raises SQLAlchemyError where it cannot."""
        await self._teller.close()

    async def admit(self, presented: str | None, model: str, estimate: Estimate) -> Pass:
        """Leave for a request by the key that was presented (with or without `Bearer `).

        Raises Refused: 401 no key or an unknown one; 403 a model that it may not ask; 429 its budget is used up
        (`insufficient_quota`) or its rate is (`rate_limit_exceeded`); 503 the database does not answer and nothing is
        leased.
        """
        known = await self._find(presented)
        facts = known.facts
        if facts.models and model not in facts.models:
            raise model_not_allowed(facts, model)
        if len(self._teller.ledger) > _ROWS_IN_MEMORY:
            raise state_silent()
        if not known.accounts:
            return Pass(facts, model, admitted_at=time.time())
        needs = [(account, account.need_of(estimate)) for account in known.accounts]
        now_s = self._clock()
        if self._lacking(needs, now_s):
            await self._wait_for(facts, needs)
            now_s = self._clock()
        holds = [account.take(amount, now_s) for account, amount in needs]
        for account in known.accounts:
            if account.runs_low():
                self._teller.wake()
        return Pass(facts, model, admitted_at=time.time(), holds=holds)

    async def check(self, presented: str | None) -> None:
        """Whether this key is one. Raises Refused: 401, 503, as `admit` does."""
        await self._find(presented)

    def settle(self, pass_: Pass, used: Used) -> None:
        """What the request used, in the place of what was held. Counts once; further calls do nothing."""
        holds = pass_.use()
        if holds is None:
            return
        if not (0 <= used.usd < _MOST and 0 <= used.input_tokens < _MOST and 0 <= used.output_tokens < _MOST):
            used = _sound(used, holds)
        for hold in holds:
            hold.account.settle(hold, used)
        self._teller.ledger.append(row_of(pass_, used, time.time()))

    async def _find(self, presented: str | None) -> _Known:
        key = (presented or "").strip()
        if key[:7].lower() == "bearer ":
            key = key[7:].strip()
        digest = digest_of(key)
        known = self._known.get(digest)
        if known is None and key.startswith("pf-") and self._looking < _UNKNOWN_AT_ONCE:
            self._looking += 1  # it may have been made just now
            try:
                if not await self._teller.next_exchange(_SILENT_S, at_once=False):
                    raise state_silent()
            finally:
                self._looking -= 1
            known = self._known.get(digest)
        if known is None:
            raise no_such_key(given=bool(key))
        return known

    def _lacking(self, needs: list[tuple[Account, int]], now_s: float) -> list[tuple[Account, int]]:
        if now_s < self._teller.good_until_s:
            return [(a, n) for a, n in needs if n > 0 and n > a.free(now_s)]
        return [(a, n) for a, n in needs if n > 0]

    async def _wait_for(self, facts: KeyFacts, needs: list[tuple[Account, int]]) -> None:
        """Until all that is needed is free here. Nothing can come between its return and the taking."""
        silent_s, patient_s = self._clock() + _SILENT_S, float("inf")
        while lacking := self._lacking(needs, now_s := self._clock()):
            for account, amount in lacking:
                if amount > account.limit:
                    raise too_large(facts, account, amount)
                if now_s < account.empty_until_s:
                    raise used_up(facts, account, amount, now_s)
            if now_s >= patient_s:
                lacking[0][0].empty_until_s = now_s + _PATIENCE_S
                raise used_up(facts, *lacking[0], now_s)
            if now_s >= silent_s:
                raise state_silent()
            if await self._borrow(lacking, min(silent_s, patient_s) - now_s):
                silent_s, patient_s = float("inf"), min(patient_s, self._clock() + _PATIENCE_S)

    async def _borrow(self, lacking: list[tuple[Account, int]], timeout_s: float) -> bool:
        """Whether the database answered."""
        for account, amount in lacking:
            account.wait(amount)
        try:
            return await self._teller.next_exchange(timeout_s)
        finally:
            for account, amount in lacking:
                account.wait(-amount)

    def _heard_of(self, facts: KeyFacts) -> None:
        if facts.revoked_at is not None:
            self._known.pop(facts.digest, None)
            return
        accounts = tuple(self._teller.account(budget) for budget in facts.budgets)
        self._known[facts.digest] = _Known(facts, accounts)


def _sound(used: Used, holds: Sequence[Hold]) -> Used:
    """Where an upstream tells nonsense, the request has used what was held for it, which was the most."""
    usd = next((hold.amount / NANO for hold in holds if hold.account.kind == "usd"), 0.0)
    return used._replace(
        usd=used.usd if 0 <= used.usd < _MOST else usd,
        input_tokens=used.input_tokens if 0 <= used.input_tokens < _MOST else 0,
        output_tokens=used.output_tokens if 0 <= used.output_tokens < _MOST else 0,
    )
