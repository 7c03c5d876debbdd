"""Sums of the ledger: what was used, by whom, of what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, func, literal, select

from polyfleet.errors import InputError
from polyfleet.gate.keys.passes import NANO
from polyfleet.gate.keys.tables import KEYS, LEDGER, database_now, prepare

BY = ("key", "model", "replica", "provider", "day")
_DAY_S = 86_400


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
    """Sums of the last `since_s` seconds (None: of all), the dearest first; days in their order.

    Raises InputError where `by` is none of `BY`.
    """
    group = _group(by)
    prepare(engine)
    failed = func.sum(case((LEDGER.c.status >= 400, 1), else_=0))
    sums = [func.sum(LEDGER.c[name]) for name in ("resumed", "input_tokens", "output_tokens", "usd_nano")]
    chosen = select(group.label("what"), func.count(), failed, *sums).group_by("what")
    chosen = chosen.select_from(LEDGER.outerjoin(KEYS, KEYS.c.id == LEDGER.c.key_id))
    with engine.connect() as connection:
        if since_s is not None:
            chosen = chosen.where(LEDGER.c.at >= database_now(connection) - since_s)
        rows = [_usage(*row) for row in connection.execute(chosen)]
    if by == "day":
        return sorted(rows, key=lambda row: row.name)
    return sorted(rows, key=lambda row: (-row.usd, -row.requests, row.name))


def _usage(name: str | float, requests: int, *sums: int) -> Usage:
    """PostgreSQL sums to decimals."""
    failed, resumed, input_tokens, output_tokens, nanos = (int(one) for one in sums)
    shown = name if isinstance(name, str) else datetime.fromtimestamp(float(name) * _DAY_S, UTC).date().isoformat()
    return Usage(shown, requests, failed, resumed, input_tokens, output_tokens, nanos / NANO)


def _group(by: str) -> ColumnElement[Any]:
    """What rows of one name have in common. Keys of one name that were made after one another count as one."""
    if by == "key":
        return func.coalesce(KEYS.c.name, literal("(no key)"))
    if by == "day":
        return func.floor(LEDGER.c.at / _DAY_S)
    columns = {"model": LEDGER.c.model, "replica": LEDGER.c.route_id, "provider": LEDGER.c.provider}
    if by not in columns:
        raise InputError("usage cannot be summed by this", value=by, hint=f"one of {', '.join(BY)}")
    return columns[by]
