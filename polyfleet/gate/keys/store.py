"""Making, listing and revoking keys. A key is shown once, when it is made; the database holds its SHA-256."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from polyfleet.errors import InputError
from polyfleet.gate.keys.passes import NANO, nano
from polyfleet.gate.keys.tables import BUDGETS, KEY_CHANGES, KEYS, database_now, prepare

RATE_S = 60.0
"""Rates hold in every stretch of this length."""
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """A limit of a key. `kind` is `usd` (in billionths), `requests` or `tokens`; `used` only of `usd`, in the period
    that ends at `ends_at` (UTC seconds; None: it never does)."""

    id: int
    kind: str
    limit: int
    per_s: float | None = None
    used: int = 0
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of a key; not the key."""

    id: int
    name: str
    digest: str
    models: frozenset[str] = frozenset()
    admin: bool = False
    created_at: float = 0.0
    revoked_at: float | None = None
    changed: int = 0
    budgets: tuple[BudgetFacts, ...] = field(default=())


def digest_of(key: str) -> str:
    """SHA-256 of a key: 32 random bytes need no salt and no slow hash, nobody can try them all."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def create_key(
    engine: Engine,
    name: str,
    *,
    budget_usd: float | None = None,
    per_s: float | None = None,
    rate_requests_per_min: float | None = None,
    rate_tokens_per_min: float | None = None,
    models: Sequence[str] = (),
    admin: bool = False,
) -> str:
    """A new key, `pf-` and 32 random bytes: the only time that it is shown.

    `budget_usd` may be used per `per_s` seconds, counted from now (None: once and for all). `models` empty: all.
    Raises InputError for a name in use and for limits that are no positive numbers.
    """
    limits = limits_of(budget_usd, per_s, rate_requests_per_min, rate_tokens_per_min)
    if not name.strip() or not name.isprintable() or len(name) > 200:
        raise InputError("a key needs a name of up to 200 printable characters", value=name)
    key = "pf-" + secrets.token_urlsafe(32)
    prepare(engine)
    with engine.begin() as connection:
        changed = count_change(connection)
        if live_key(connection, name) is not None:
            raise InputError("there is a key of this name", value=name, hint="revoke it first, or take another name")
        now = database_now(connection)
        row = {"name": name, "digest": digest_of(key), "admin": admin, "models": json.dumps(sorted(set(models))),
               "created_at": now, "changed": changed}  # fmt: skip
        made = connection.execute(insert(KEYS).values(row)).inserted_primary_key
        key_id = int(made[0]) if made else 0
        for kind, (limit, period_s) in limits.items():
            connection.execute(insert(BUDGETS).values(fresh_budget(key_id, kind, limit, period_s, now)))
    return key


def fresh_budget(key_id: int, kind: str, limit: int, per_s: float | None, now: float) -> dict[str, Any]:
    """The row of a limit that is new."""
    return {
        "key_id": key_id, "kind": kind, "limit": limit, "per_s": per_s, "from_at": now, "period": 0, "used": 0,
        "hungry_until": 0.0,
    }  # fmt: skip


def list_keys(engine: Engine, *, revoked: bool = False) -> list[KeyFacts]:
    """Keys by name, with what was used of their budgets; those that were revoked too where asked."""
    prepare(engine)
    with engine.begin() as connection:
        found = read_keys(connection, since=-1)
    return sorted((k for k in found if revoked or k.revoked_at is None), key=lambda k: (k.name, k.id))


def revoke_key(engine: Engine, name: str) -> None:
    """From within a second on, no gate lets this key in. Raises InputError where there is none of this name."""
    prepare(engine)
    with engine.begin() as connection:
        changed = count_change(connection)
        key_id = require_key(connection, name)
        row = {"revoked_at": database_now(connection), "changed": changed}
        connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(row))


def read_keys(connection: Connection, *, since: int) -> list[KeyFacts]:
    """Keys that were changed after the change of this number."""
    rows = connection.execute(select(KEYS).where(KEYS.c.changed > since)).mappings().all()
    if not rows:
        return []
    now = database_now(connection)
    budgets: dict[int, list[BudgetFacts]] = {}
    chosen = select(BUDGETS).join(KEYS, KEYS.c.id == BUDGETS.c.key_id).where(KEYS.c.changed > since)
    for row in connection.execute(chosen.order_by(BUDGETS.c.id)).mappings():
        budgets.setdefault(row["key_id"], []).append(_budget(row, now))
    return [_facts(row, tuple(budgets.get(row["id"], ()))) for row in rows]


def period_at(row: Mapping[Any, Any], now: float) -> tuple[int, float | None]:
    """The period of a budget that `now` is in, and when it ends. It never goes back, whatever the clock does."""
    if row["per_s"] is None or row["kind"] != "usd":
        return row["period"], None
    period = max(row["period"], int((now - row["from_at"]) // row["per_s"]))
    return period, row["from_at"] + (period + 1) * row["per_s"]


def _budget(row: Mapping[Any, Any], now: float) -> BudgetFacts:
    period, ends_at = period_at(row, now)
    used = row["used"] if period == row["period"] else 0
    return BudgetFacts(row["id"], row["kind"], row["limit"], row["per_s"], used, ends_at)


def _facts(row: Mapping[Any, Any], budgets: tuple[BudgetFacts, ...]) -> KeyFacts:
    return KeyFacts(
        row["id"], row["name"], row["digest"], frozenset(json.loads(row["models"])), row["admin"], row["created_at"],
        row["revoked_at"], row["changed"], budgets,
    )  # fmt: skip


def limits_of(
    budget_usd: float | None, per_s: float | None, requests: float | None, tokens: float | None
) -> dict[str, tuple[int, float | None]]:
    """What may be used of each kind, and in how long."""
    if per_s is not None and budget_usd is None:
        raise InputError("a period without a budget", hint="give the budget too")
    if per_s is not None and not 1 <= per_s <= 1e10:
        raise InputError("a budget's period is a second or more", value=per_s)
    limits: dict[str, tuple[int, float | None]] = {}
    for kind, amount, scale, period_s in (
        ("usd", budget_usd, NANO, per_s), ("requests", requests, 1, RATE_S), ("tokens", tokens, 1, RATE_S)
    ):  # fmt: skip
        if amount is not None:
            if not 0 < amount * scale < _MOST or round(amount * scale) < 1:
                raise InputError(f"a limit of {kind} must be above zero", value=amount)
            limits[kind] = (nano(amount) if kind == "usd" else int(amount), period_s)
    return limits


def live_key(connection: Connection, name: str) -> int | None:
    return connection.scalar(select(KEYS.c.id).where(KEYS.c.name == name, KEYS.c.revoked_at.is_(None)))


def require_key(connection: Connection, name: str) -> int:
    """The number of a key that is not revoked. Raises InputError naming those there are."""
    key_id = live_key(connection, name)
    if key_id is None:
        names = list(connection.scalars(select(KEYS.c.name).where(KEYS.c.revoked_at.is_(None)).limit(20)))
        raise InputError("there is no such key", value=name, hint=f"there are: {', '.join(names) or 'none'}")
    return key_id


def count_change(connection: Connection) -> int:
    """Its row stays locked until the end of the transaction: numbers are seen in their order."""
    connection.execute(update(KEY_CHANGES).values(number=KEY_CHANGES.c.number + 1))
    return int(connection.scalar(select(KEY_CHANGES.c.number)) or 0)
