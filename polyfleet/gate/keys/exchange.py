"""One exchange of a worker with the database: it tells what was used, gives back, and leases anew; in one transaction.

A budget's row is locked from the first reading to the end (PostgreSQL by `FOR UPDATE`, SQLite by its one writer), so
that at every moment `used` + all leases <= `limit`; where the limit was lowered, none is lent until that is so again. A
worker's exchanges are numbered: one whose end was not heard of
can be sent again and counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update

from polyfleet.gate.keys.account import Lent, Told
from polyfleet.gate.keys.rows import Row, write_rows
from polyfleet.gate.keys.store import KeyFacts, period_at, read_keys
from polyfleet.gate.keys.tables import BUDGETS, LEASES, WORKERS, database_now

_HUNGRY_S = 1.0
_SHARE_AHEAD = 4
"""Of what nobody holds, a worker takes at most one in this many ahead of need."""
_MINE = (LEASES.c.budget_id == bindparam("b"), LEASES.c.worker == bindparam("w"))
_UPDATE_LEASE = update(LEASES).where(*_MINE).values(period=bindparam("p"), amount=bindparam("a"), free=bindparam("f"))
_INSERT_LEASE = insert(LEASES).values(
    budget_id=bindparam("b"), worker=bindparam("w"), period=bindparam("p"), amount=bindparam("a"), free=bindparam("f")
)
_DELETE_LEASE = delete(LEASES).where(*_MINE)
_UPDATE_BUDGET = (
    update(BUDGETS)
    .where(BUDGETS.c.id == bindparam("b"))
    .values(period=bindparam("p"), used=bindparam("u"), hungry_until=bindparam("h"))
)
_Row = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a worker sends: `number` counts its exchanges; keys changed after `keys_seen` are sent back."""

    worker: str
    number: int
    told: tuple[Told, ...] = ()
    ledger: tuple[Row, ...] = ()
    keys_seen: int = -1


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets. `lost`: it was not heard of for so long that its leases were given to others. `hungry`: budgets of
    which others need what it does not."""

    lent: Mapping[int, Lent]
    keys: Sequence[KeyFacts]
    hungry: frozenset[int]
    lost: bool


def exchange(engine: Engine, turn: Turn, *, lease_s: float) -> Answer:
    """Leases live for `lease_s` from now. Raises SQLAlchemyError where the database fails: it can be sent again."""
    with engine.begin() as connection:
        now = database_now(connection)
        done = connection.scalar(select(WORKERS.c.turn).where(WORKERS.c.id == turn.worker).with_for_update())
        fresh = done != turn.number
        row = {"turn": turn.number, "expires_at": now + lease_s}
        if done is None:
            connection.execute(insert(WORKERS).values(id=turn.worker, **row))
        else:
            connection.execute(update(WORKERS).where(WORKERS.c.id == turn.worker).values(row))
        if turn.ledger and fresh:
            write_rows(connection, turn.ledger)
        lent = _lend(connection, turn, fresh=fresh) if turn.told else {}
        keys = read_keys(connection, since=turn.keys_seen)
        asked = select(LEASES.c.budget_id).join(BUDGETS, BUDGETS.c.id == LEASES.c.budget_id)
        asked = asked.where(LEASES.c.worker == turn.worker, LEASES.c.free > 0, BUDGETS.c.hungry_until > now)
        return Answer(lent, keys, frozenset(connection.scalars(asked)), done is None and turn.number > 1)


def reap(engine: Engine) -> int:
    """Free the leases of workers that were not heard of until their leases expired; how many workers that were."""
    with engine.begin() as connection:
        late = select(WORKERS.c.id).where(WORKERS.c.expires_at < database_now(connection))
        dead = list(connection.scalars(late.with_for_update(skip_locked=True)))
        if dead:
            connection.execute(delete(LEASES).where(LEASES.c.worker.in_(dead)))
            connection.execute(delete(WORKERS).where(WORKERS.c.id.in_(dead)))
        return len(dead)


def leave(engine: Engine, worker: str) -> None:
    """Take a worker off that holds nothing any more; one that still does stays until its leases expire."""
    with engine.begin() as connection:
        holds = select(LEASES.c.budget_id).where(LEASES.c.worker == worker).exists()
        connection.execute(delete(WORKERS).where(WORKERS.c.id == worker, ~holds))


def _lend(connection: Connection, turn: Turn, *, fresh: bool) -> dict[int, Lent]:
    ids = sorted(told.budget_id for told in turn.told)
    chosen = select(BUDGETS).where(BUDGETS.c.id.in_(ids)).order_by(BUDGETS.c.id).with_for_update()
    budgets = {row["id"]: row for row in connection.execute(chosen).mappings()}
    now = database_now(connection)  # read under the locks: waiting for them may have led into the next period
    leases: dict[int, list[_Row]] = {}
    for row in connection.execute(select(LEASES).where(LEASES.c.budget_id.in_(ids))).mappings():
        leases.setdefault(row["budget_id"], []).append(row)
    lent, changes = {}, _Changes(turn.worker)
    for told in turn.told:
        if told.budget_id in budgets:
            budget, held = budgets[told.budget_id], leases.get(told.budget_id, [])
            lent[told.budget_id] = _serve(budget, held, told, now, changes, fresh=fresh)
    changes.write(connection)
    return lent


def _serve(
    budget: _Row, leases: Sequence[_Row], told: Told, now: float, changes: _Changes, *, fresh: bool
) -> Lent:  # fmt: skip
    """Count what was told, and lease what can be of what is left."""
    period, ends_at = period_at(budget, now)
    current = [row for row in leases if row["period"] == period]
    mine = sum(row["amount"] for row in current if row["worker"] == changes.worker)
    used = budget["used"] if budget["period"] == period else 0
    if fresh and told.period == period:
        used += told.spent
        mine = max(0, mine - told.spent - told.back)
    elsewhere = sum(row["amount"] for row in current if row["worker"] != changes.worker)
    elsewhere_free = sum(row["free"] for row in current if row["worker"] != changes.worker)
    hungry = budget["hungry_until"]
    left = max(0, budget["limit"] - used - elsewhere - mine)
    grant = min(left, max(0, told.need - mine))
    if hungry <= now:
        grant += max(0, min(told.ahead - max(0, mine - told.need), (left - grant) // _SHARE_AHEAD))
    if mine + grant < told.need and elsewhere_free > 0:
        hungry = now + _HUNGRY_S
    held = mine + grant
    changes.budget(budget, period, used, hungry)
    changes.lease(leases, told, period, held)
    over = max(0, min(held, used + elsewhere + held - budget["limit"]))
    return Lent(period, held, None if ends_at is None else ends_at - now, used, elsewhere, elsewhere_free, over)


class _Changes:
    """The rows to write, by statement."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._budgets: list[dict[str, Any]] = []
        self._updates: list[dict[str, Any]] = []
        self._inserts: list[dict[str, Any]] = []
        self._deletes: list[dict[str, Any]] = []

    def budget(self, old: _Row, period: int, used: int, hungry: float) -> None:
        if (old["period"], old["used"], old["hungry_until"]) != (period, used, hungry):
            self._budgets.append({"b": old["id"], "p": period, "u": used, "h": hungry})

    def lease(self, old: Sequence[_Row], told: Told, period: int, held: int) -> None:
        free = max(0, held - told.need)
        row = {"b": told.budget_id, "w": self.worker, "p": period, "a": held, "f": free}
        there = next((lease for lease in old if lease["worker"] == self.worker), None)
        if there is None and held:
            self._inserts.append(row)
        elif there is not None and not held:
            self._deletes.append({"b": told.budget_id, "w": self.worker})
        elif there is not None and (there["period"], there["amount"], there["free"]) != (period, held, free):
            self._updates.append(row)

    def write(self, connection: Connection) -> None:
        for statement, rows in (
            (_UPDATE_BUDGET, self._budgets), (_UPDATE_LEASE, self._updates),
            (_INSERT_LEASE, self._inserts), (_DELETE_LEASE, self._deletes),
        ):  # fmt: skip
            if rows:
                connection.execute(statement, rows)
