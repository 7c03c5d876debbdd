"""Sums of the ledger: what was used, by whom, of what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, Table, case, func, literal, select, union_all

from polyfleet.errors import InputError
from polyfleet.gate.keys.passes import NANO
from polyfleet.gate.keys.tables import DAY_S, KEYS, LEDGER, LEDGER_DAYS, database_now, prepare

BY = ("key", "model", "replica", "provider", "day")
_SUMS = ("requests", "failed", "resumed", "input_tokens", "output_tokens", "usd_nano")


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums of the ledger for one key, model, replica, provider or day (UTC). `failed`: status 400 or above."""

    name: str
    requests: int
    failed: int
    resumed: int
    input_tokens: int
    output_tokens: int
    usd: float


def usage(engine: Engine, by: str, *, since_s: float | None = None) -> list[Usage]:
    """Sums of the last `since_s` seconds (None: of all), the dearest first; days in their order. Of days whose rows
    were folded, the one that `since_s` falls into counts whole.

    Raises InputError where `by` is none of `BY`.
    """
    if by not in BY:
        raise InputError("usage cannot be summed by this", value=by, hint=f"one of {', '.join(BY)}")
    prepare(engine)
    with engine.connect() as connection:
        since = None if since_s is None else database_now(connection) - since_s
        both = union_all(_of_rows(by, since), _of_days(by, since)).subquery()
        sums = [func.sum(both.c[name]) for name in _SUMS]
        rows = [_usage(*row) for row in connection.execute(select(both.c.what, *sums).group_by(both.c.what))]
    if by == "day":
        return sorted(rows, key=lambda row: row.name)
    return sorted(rows, key=lambda row: (-row.usd, -row.requests, row.name))


def _of_rows(by: str, since: float | None) -> Select[Any]:
    failed = func.sum(case((LEDGER.c.status >= 400, 1), else_=0)).label("failed")
    sums = [func.sum(LEDGER.c[name]).label(name) for name in _SUMS[2:]]
    what = func.floor(LEDGER.c.at / DAY_S) if by == "day" else _name(by, LEDGER)
    chosen = select(what.label("what"), func.count().label("requests"), failed, *sums).group_by("what")
    chosen = chosen.select_from(LEDGER.outerjoin(KEYS, KEYS.c.id == LEDGER.c.key_id))
    return chosen if since is None else chosen.where(LEDGER.c.at >= since)


def _of_days(by: str, since: float | None) -> Select[Any]:
    sums = [func.sum(LEDGER_DAYS.c[name]).label(name) for name in _SUMS]
    what = LEDGER_DAYS.c.day * 1.0 if by == "day" else _name(by, LEDGER_DAYS)
    chosen = select(what.label("what"), *sums).group_by("what")
    chosen = chosen.select_from(LEDGER_DAYS.outerjoin(KEYS, KEYS.c.id == LEDGER_DAYS.c.key_id))
    return chosen if since is None else chosen.where(LEDGER_DAYS.c.day >= since // DAY_S)


def _name(by: str, table: Table) -> ColumnElement[Any]:
    """What rows of one name have in common. Keys of one name that were made after one another count as one."""
    if by == "key":
        return func.coalesce(KEYS.c.name, literal("(no key)"))
    return table.c[{"model": "model", "replica": "route_id", "provider": "provider"}[by]]


def _usage(name: str | float, *sums: int) -> Usage:
    """PostgreSQL sums to decimals."""
    requests, failed, resumed, input_tokens, output_tokens, nanos = (int(one) for one in sums)
    shown = name if isinstance(name, str) else datetime.fromtimestamp(float(name) * DAY_S, UTC).date().isoformat()
    return Usage(shown, requests, failed, resumed, input_tokens, output_tokens, nanos / NANO)
