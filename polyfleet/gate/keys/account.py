"""One worker's part of one budget or rate: what it holds, what of that is taken. Pure; one event loop uses it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from polyfleet.gate.keys.passes import Estimate, Used, nano, nano_up
from polyfleet.gate.keys.store import RATE_S, BudgetFacts

_SLOT_S = 0.25
"""Requests that come within one of these leave a rate's window together."""
_AHEAD_TICKS = 8
_AHEAD_WAITING = 16
_IDLE_TICKS = 20


class Told(NamedTuple):
    """What a worker tells of one budget: of `period`, `spent` was used and `back` is given back since it last told;
    it needs `need` to go on holding what is taken and to let in who waits, and would like `ahead` on top."""

    budget_id: int
    period: int
    spent: int
    back: int
    need: int
    ahead: int


class Lent(NamedTuple):
    """What it is told in return: it now holds `held` of `period`, which ends in `left_s` (None: never). `used` by all
    that told; other workers hold `elsewhere`, of which they did not need `elsewhere_free` when they last told. `over`
    of what it holds is more than the limit allows, since that was lowered: it may not be taken again."""

    period: int
    held: int
    left_s: float | None
    used: int
    elsewhere: int
    elsewhere_free: int
    over: int = 0


class Hold:
    """What one request holds of an account until it is settled."""

    __slots__ = ("account", "amount", "mark")

    def __init__(self, account: Account, amount: int, mark: object) -> None:
        self.account, self.amount, self.mark = account, amount, mark


class Account:
    """What budgets and rates have in common. `taken` is what requests hold; what is free may be taken at once. An
    account that is used puts itself into `active`."""

    def __init__(self, facts: BudgetFacts, active: set[Account]) -> None:
        self.id, self.kind, self.limit, self.per_s = facts.id, facts.kind, facts.limit, facts.per_s
        self.held = self.taken = self.spent = self.over = 0
        self.waiting = 0
        self.period, self.until_s = 0, float("inf")
        self.last: Lent | None = None
        self.empty_until_s = float("-inf")
        self.hungry_elsewhere = False
        self._telling: Told | None = None
        self._demand = self._pace = self._idle_ticks = 0
        self._asked_low = False
        self._stale = False
        self._active = active

    def change(self, facts: BudgetFacts) -> bool:
        """Whether the limit was changed. Then nothing is taken before all that is free was given back, and what the new
        limit allows was leased."""
        if (facts.limit, facts.per_s) == (self.limit, self.per_s):
            return False
        self.limit, self.per_s = facts.limit, facts.per_s
        self._stale, self.empty_until_s = True, float("-inf")
        self._active.add(self)
        return True

    def forget(self) -> None:
        """The limit is no more."""
        self.held = self.taken = self.spent = self.over = 0
        self._telling, self._stale = None, False

    def free(self, now_s: float) -> int:
        """What can be taken; below zero where requests used more than was thought."""
        if self._stale or now_s >= self.until_s:
            return 0
        return self._left() - self.over

    def _left(self) -> int:
        told = self._telling
        return self.held - self.taken - self.spent - (told.spent + told.back if told else 0)

    def need_of(self, estimate: Estimate) -> int:
        """How much of this account a request may use."""
        raise NotImplementedError  # each kind of account has its own

    @property
    def used(self) -> int:
        """Of a rate nothing is used up for good."""
        return 0

    def take(self, amount: int, now_s: float) -> Hold:
        """For one request; the caller has asked whether it fits."""
        self.taken += amount
        self._demand += amount
        self._active.add(self)
        return Hold(self, amount, self._mark(amount, now_s))

    def wait(self, amount: int) -> None:
        """A request waits for so much; below zero: it waits no more."""
        self.waiting += amount
        self._active.add(self)

    def settle(self, hold: Hold, used: Used) -> None:
        """What was used takes the place of what was held."""
        raise NotImplementedError  # each kind of account has its own

    def _mark(self, amount: int, now_s: float) -> object:
        """What says later whether the hold still counts."""
        raise NotImplementedError  # each kind of account has its own

    def retry_after_s(self, amount: int, now_s: float) -> float | None:
        """How long until so much may be free; None: waiting does not help."""
        raise NotImplementedError  # each kind of account has its own

    @property
    def low(self) -> bool:
        """Soon there will be nothing left to take, at the pace of late."""
        return self._pace > 0 and self.held - self.taken - self.spent < 2 * self._pace

    def runs_low(self) -> bool:
        """True once between two ticks, so that a budget that is nearly used up is not asked for all the time."""
        if self._asked_low or not self.low:
            return False
        self._asked_low = True
        return True

    @property
    def dirty(self) -> bool:
        """There is something to tell or to ask."""
        return bool(self.spent or self.waiting or self._stale or self.over or self._gives_back or self.low)

    @property
    def asleep(self) -> bool:
        """Nothing is held, taken or to be told: it need not be looked at before it is used again."""
        return not (self.held or self.taken or self.spent or self.waiting or self._telling or self._pace or self._stale)

    @property
    def _gives_back(self) -> bool:
        idle = self._idle_ticks > 0 and self._idle_ticks % _IDLE_TICKS == 0
        return self.held > 0 and (self.hungry_elsewhere or idle)

    def tick(self) -> None:
        """Called a few times a second: follows the pace of demand."""
        self._pace = max(self._demand, self._pace // 2)
        self._idle_ticks = 0 if self._demand else self._idle_ticks + 1
        self._demand = 0
        self._asked_low = False

    def tell(self, now_s: float, *, closing: bool = False) -> Told:
        """What to tell; until `told` or `told_again` is called, nothing of it is free."""
        gives = closing or self._gives_back
        free = self.free(now_s)
        back = max(0, free - self.waiting) if gives else 0
        if self._stale or self.over:
            left = max(0, self._left())
            back = left if self._stale else max(back, min(left, self.over))
        ahead = 0 if gives else max(_AHEAD_TICKS * self._pace, _AHEAD_WAITING * self.waiting)
        self._telling = Told(self.id, self.period, self.spent, back, self.taken + self.waiting, ahead)
        self.spent, self.hungry_elsewhere = 0, False
        return self._telling

    def hear(self, lent: Lent, asked_s: float, now_s: float, *, refuse_s: float) -> None:
        """The answer to `tell`, which left at `asked_s`. Where nothing is to be had anywhere, do not ask again for
        `refuse_s`."""
        told = self._telling
        self._telling = None
        if lent.period != self.period:
            self.taken = self.spent = 0
        self.period, self.held, self.over, self.last = lent.period, lent.held, lent.over, lent
        self._stale = False
        self.until_s = float("inf") if lent.left_s is None else asked_s + lent.left_s
        if told and lent.held < told.need and lent.elsewhere_free <= 0:
            self.empty_until_s = now_s + refuse_s


class Budget(Account):
    """Money: what is used does not come back before the next period."""

    @property
    def used(self) -> int:
        """By all workers in this period, as far as it is known here."""
        return (self.last.used if self.last else 0) + self.spent + (self._telling.spent if self._telling else 0)

    def need_of(self, estimate: Estimate) -> int:
        return nano_up(estimate.usd)

    def settle(self, hold: Hold, used: Used) -> None:
        if hold.mark == self.period:  # what was taken in a period that is over is no longer counted
            self.taken -= hold.amount
            self.spent += nano(used.usd)
            self._active.add(self)

    def _mark(self, amount: int, now_s: float) -> object:  # noqa: ARG002 - as the protocol says
        return self.period

    def retry_after_s(self, amount: int, now_s: float) -> float | None:
        if amount > self.limit:
            return None
        if self.used + amount <= self.limit:
            return 1.0  # requests in flight hold it, and mostly use less
        return max(0.0, self.until_s - now_s) if self.per_s else None


class Rate(Account):
    """Requests or tokens in any 60 s: what was taken comes back after that time. What a worker holds is its part of the
    whole, and it never lets in more than that in any 60 s; so all together never let in more than the limit."""

    def __init__(self, facts: BudgetFacts, active: set[Account]) -> None:
        super().__init__(facts, active)
        self._slots: deque[_Slot] = deque()

    def need_of(self, estimate: Estimate) -> int:
        return estimate.input_tokens + estimate.output_tokens if self.kind == "tokens" else 1

    def free(self, now_s: float) -> int:
        if self._slots and self._slots[0].back_s <= now_s:
            self._drop(now_s)
        return super().free(now_s)

    def settle(self, hold: Hold, used: Used) -> None:
        slot = hold.mark
        if self.kind == "tokens" and isinstance(slot, _Slot) and not slot.gone:
            difference = used.input_tokens + used.output_tokens - hold.amount
            self.taken += difference
            slot.amount += difference

    def _mark(self, amount: int, now_s: float) -> object:
        back_s = (now_s // _SLOT_S + 1) * _SLOT_S + RATE_S
        if not self._slots or self._slots[-1].back_s < back_s:
            self._slots.append(_Slot(back_s))
        self._slots[-1].amount += amount
        return self._slots[-1]

    def retry_after_s(self, amount: int, now_s: float) -> float | None:
        if amount > self.limit:
            return None
        lacking = amount - self.free(now_s)
        for slot in self._slots:
            lacking -= slot.amount
            if lacking <= 0:
                return max(0.0, slot.back_s - now_s)
        return RATE_S  # others have it: after this time all of it has come back

    def _drop(self, now_s: float) -> None:
        while self._slots and self._slots[0].back_s <= now_s:
            slot = self._slots.popleft()
            self.taken -= slot.amount
            slot.gone = True


class _Slot:
    """What was taken within a quarter of a second, and when it comes back."""

    __slots__ = ("amount", "back_s", "gone")

    def __init__(self, back_s: float) -> None:
        self.back_s, self.amount, self.gone = back_s, 0, False


def account_of(facts: BudgetFacts, active: set[Account]) -> Account:
    return Budget(facts, active) if facts.kind == "usd" else Rate(facts, active)
