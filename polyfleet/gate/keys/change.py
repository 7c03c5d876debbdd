"""Changing a key while gates use it. What is in flight stays counted; gates hear of the change within a second."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update

from polyfleet.errors import InputError
from polyfleet.gate.keys.passes import NANO
from polyfleet.gate.keys.store import count_change, fresh_budget, limits_of, period_at, require_key
from polyfleet.gate.keys.tables import BUDGETS, KEYS, LEASES, database_now, prepare


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as it shall be; None: there is none any more."""

    value: float | None


def change_key(
    engine: Engine,
    name: str,
    *,
    budget_usd: Limit | None = None,
    per_s: Limit | None = None,
    rate_requests_per_min: Limit | None = None,
    rate_tokens_per_min: Limit | None = None,
    models: Sequence[str] | None = None,
) -> None:
    """What is given is changed, the rest stays; `models` empty: all.

    What was used of a budget stays used. With another `per_s` the current period keeps its beginning; with
    `Limit(None)` it has no end. Raises InputError where there is no such key, for a period without a budget, and for
    limits that are no positive numbers.
    """
    prepare(engine)
    with engine.begin() as connection:
        row: dict[str, Any] = {"changed": count_change(connection)}
        key_id = require_key(connection, name)
        chosen = select(BUDGETS).where(BUDGETS.c.key_id == key_id).order_by(BUDGETS.c.id).with_for_update()
        old = {found["kind"]: found for found in connection.execute(chosen).mappings()}
        now = database_now(connection)
        rates = {"requests": rate_requests_per_min, "tokens": rate_tokens_per_min}
        for kind, asked in {"usd": _budget(old.get("usd"), budget_usd, per_s), **rates}.items():
            if asked is not None:
                _change(connection, key_id, kind, old.get(kind), asked.value, per_s, now)
        if models is not None:
            row["models"] = json.dumps(sorted(set(models)))
        connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(row))


def _budget(old: Mapping[Any, Any] | None, asked: Limit | None, per_s: Limit | None) -> Limit | None:
    """The budget as it shall be, where it or its period is changed."""
    if per_s is None or asked is not None:
        return asked
    if old is None:
        raise InputError("a period without a budget", hint="give the budget too")
    return Limit(old["limit"] / NANO)


def _change(
    connection: Connection, key_id: int, kind: str, old: Mapping[Any, Any] | None, amount: float | None,
    period_s: Limit | None, now: float,
) -> None:  # fmt: skip
    if amount is None:
        if old is not None:
            connection.execute(delete(LEASES).where(LEASES.c.budget_id == old["id"]))
            connection.execute(delete(BUDGETS).where(BUDGETS.c.id == old["id"]))
        return
    per_s = period_s.value if period_s else old["per_s"] if old is not None else None
    asked = {"usd": (amount, per_s, None, None), "requests": (None, None, amount, None)}
    limit, per_s = limits_of(*asked.get(kind, (None, None, None, amount)))[kind]
    if old is None:
        connection.execute(insert(BUDGETS).values(fresh_budget(key_id, kind, limit, per_s, now)))
        return
    row = {"limit": limit, "per_s": per_s, **_periods(old, per_s, now)}
    connection.execute(update(BUDGETS).where(BUDGETS.c.id == old["id"]).values(row))


def _periods(old: Mapping[Any, Any], per_s: float | None, now: float) -> dict[str, Any]:
    """Periods counted on from the current one, whose leases are in use; nothing where they stay as they are."""
    if per_s == old["per_s"]:
        return {}
    period, _ = period_at(old, now)
    used = old["used"] if period == old["period"] else 0
    begun = old["from_at"] if old["per_s"] is None else old["from_at"] + period * old["per_s"]
    return {"period": period, "used": used, "from_at": begun if per_s is None else begun - period * per_s}
