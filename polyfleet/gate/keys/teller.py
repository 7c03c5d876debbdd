"""A worker's dealings with the database: beside the requests, a few times a second, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from polyfleet.gate.keys.account import Account, account_of
from polyfleet.gate.keys.exchange import Answer, Turn, exchange, leave, reap
from polyfleet.gate.keys.fold import KEEP_S, fold
from polyfleet.gate.keys.rows import Row
from polyfleet.gate.keys.store import BudgetFacts, KeyFacts
from polyfleet.gate.keys.tables import prepare

_LOG = logging.getLogger(__name__)
_TICK_S = 0.25
_QUIET_S = 0.5
"""With nothing to tell it still asks this often whether keys were made or revoked."""
_GAP_S = 0.02
_REAP_S = 5.0
_FOLD_S, _FOLD_MORE_S = 600.0, 1.0
_CLOSE_S = 10.0
_ROWS_AT_ONCE = 2_000


def boot_s() -> float:
    """Seconds since the machine started, sleep included: a worker that slept knows that its leases may be gone."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Teller:
    """Keeps accounts supplied, tells what was used, writes the ledger, hears of changed keys.

    A lease is used until `usable_s` after the last exchange that went well, and given to others `lease_s` after it:
    what lies between is for the requests that are in flight then, and is more than the minute that rates look back.
    """

    def __init__(
        self,
        engine: Engine,
        heard_of: Callable[[KeyFacts], None],
        *,
        clock: Callable[[], float] = boot_s,
        lease_s: float = 120.0,
        usable_s: float = 10.0,
        keep_s: float = KEEP_S,
    ) -> None:
        self.ledger: list[Row] = []
        self.good_until_s = float("-inf")
        self._accounts: dict[int, Account] = {}
        self._active: set[Account] = set()
        self.worker = secrets.token_hex(16)
        self._engine, self._heard_of, self._clock = engine, heard_of, clock
        self._lease_s, self._usable_s, self._keep_s = lease_s, usable_s, keep_s
        self._fold_at_s = float("-inf")
        self._number, self._keys_seen = 0, -1
        self._unsent: Turn | None = None
        self._waiters: list[asyncio.Future[bool]] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="polyfleet-keys")
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._ticked_s = self._told_s = float("-inf")

    async def start(self) -> None:
        """Raises SQLAlchemyError where the database fails at once."""
        await self._in_thread(prepare, self._engine)
        await self._in_thread(reap, self._engine)
        await self._exchange()
        self._task = asyncio.create_task(self._run(), name="polyfleet-keys")

    async def close(self) -> None:
        """Tell the rest and give all leases back. Raises SQLAlchemyError where that cannot be told within 10 s."""
        self._closing = True
        self._wake.set()
        if self._task:
            await self._task
        give_up_s = self._clock() + _CLOSE_S
        while self._unsent or self.ledger or any(a.spent or a.free(self._clock()) > 0 for a in self._active):
            try:
                await self._exchange()
            except SQLAlchemyError:
                if self._clock() > give_up_s:
                    raise
                await asyncio.sleep(_TICK_S)
        await self._in_thread(leave, self._engine, self.worker)
        self._thread.shutdown()

    def account(self, facts: BudgetFacts) -> Account:
        """The account of a budget, the same each time; with the limit that the budget has now."""
        found = self._accounts.get(facts.id)
        if found is None:
            found = self._accounts[facts.id] = account_of(facts, self._active)
        elif found.change(facts):
            self._wake.set()
        return found

    def wake(self) -> None:
        """An account runs low: do not wait for the next tick."""
        self._wake.set()

    async def next_exchange(self, timeout_s: float, *, at_once: bool = True) -> bool:
        """Wait for an exchange that starts from now on; whether one ended well in this time."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if at_once:
            self._wake.set()
        await asyncio.wait((waiter,), timeout=timeout_s)
        return waiter.done() and waiter.result()

    async def _run(self) -> None:
        quiet_since_s = reaped_s = self._clock()
        while not self._closing:
            await self._sleep()
            now_s = self._clock()
            self._tick(now_s)
            if not (self._waiters or self._something_to_tell() or now_s - quiet_since_s >= _QUIET_S):
                continue
            quiet_since_s = now_s
            try:
                await self._exchange()
                if now_s - reaped_s >= _REAP_S:
                    reaped_s = now_s
                    await self._in_thread(reap, self._engine)
                if now_s >= self._fold_at_s:
                    more = await self._in_thread(fold, self._engine, self._keep_s)
                    self._fold_at_s = now_s + (_FOLD_MORE_S if more else _FOLD_S)
            except Exception as error:
                # Of a database's error only the first line: the rest repeats the statement and its values.
                _LOG.warning("keys: the state does not answer: %s", str(getattr(error, "orig", error)).split("\n")[0])
                await asyncio.sleep(_TICK_S)

    async def _sleep(self) -> None:
        """Until the next tick, or until somebody wakes it; but never twice within a gap, so that requests that come
        together share an exchange."""
        timer = asyncio.get_running_loop().call_later(_TICK_S, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        if (gap_s := self._told_s + _GAP_S - self._clock()) > 0:
            await asyncio.sleep(gap_s)
        self._wake.clear()

    def _tick(self, now_s: float) -> None:
        if now_s - self._ticked_s < _TICK_S * 0.9:
            return
        self._ticked_s = now_s
        for account in tuple(self._active):
            account.tick()
            if account.asleep:
                self._active.discard(account)

    def _something_to_tell(self) -> bool:
        return bool(self._unsent or self.ledger or any(account.dirty for account in self._active))

    async def _exchange(self) -> None:
        asked_s = self._told_s = self._clock()
        waiters, self._waiters = self._waiters, []
        again, well = self._unsent is not None, False
        try:
            turn = self._unsent = self._unsent or self._turn(asked_s)
            answer = await self._in_thread(_exchange, self._engine, turn, self._lease_s)
            self._unsent = None
            self._hear(turn, answer, asked_s)
            well = True
        finally:
            if well and again:  # what was sent again was made before they came
                self._waiters = waiters + self._waiters
            else:
                _answer(waiters, well=well)
        if self._waiters or len(turn.ledger) == _ROWS_AT_ONCE:
            self._wake.set()

    def _turn(self, now_s: float) -> Turn:
        self._number += 1
        rows, self.ledger = self.ledger[:_ROWS_AT_ONCE], self.ledger[_ROWS_AT_ONCE:]
        telling = [account for account in self._active if self._closing or account.dirty]
        told = tuple(account.tell(now_s, closing=self._closing) for account in telling)
        return Turn(self.worker, self._number, told, tuple(rows), self._keys_seen)

    def _hear(self, turn: Turn, answer: Answer, asked_s: float) -> None:
        now_s = self._clock()
        if answer.lost:
            _LOG.warning("keys: this worker was not heard of for %.0f s and leases anew", self._lease_s)
            for account in self._active:
                account.held = 0
        for told in turn.told:
            account = self._accounts[told.budget_id]
            if lent := answer.lent.get(told.budget_id):
                account.hear(lent, asked_s, now_s, refuse_s=_TICK_S)
            else:
                account.forget()
        for budget_id in answer.hungry:
            if budget_id in self._accounts:
                self._accounts[budget_id].hungry_elsewhere = True
                self._wake.set()
        for facts in answer.keys:
            self._keys_seen = max(self._keys_seen, facts.changed)
            self._heard_of(facts)
        self.good_until_s = asked_s + self._usable_s

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def _exchange(engine: Engine, turn: Turn, lease_s: float) -> Answer:
    return exchange(engine, turn, lease_s=lease_s)


def _answer(waiters: list[asyncio.Future[bool]], *, well: bool) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(well)
