"""The ledger does not grow for ever: rows that are old become sums by day, key, model, replica and provider."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from polyfleet.gate.keys.tables import DAY_S, LEDGER, LEDGER_DAYS, database_now

KEEP_S = 400.0 * DAY_S
"""How long every request has a row of its own, where nobody says otherwise: a year and a month."""
_ROWS_AT_ONCE = 2_000
_LOCK = 7_307_252
"""Any number that nobody else locks: one process folds at a time."""
_NAMES = ("day", "key_id", "model", "route_id", "provider")
_SUMS = ("requests", "failed", "resumed", "input_tokens", "output_tokens", "usd_nano")


def fold(engine: Engine, keep_s: float = KEEP_S, rows: int = _ROWS_AT_ONCE) -> bool:
    """Fold up to so many of the oldest rows of one day that ended more than `keep_s` ago; whether there may be more.

    Rows go and their sums come in one transaction: whatever is killed at whatever moment, each request counts once.
    Raises SQLAlchemyError where the database fails.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql" and not connection.scalar(
            select(func.pg_try_advisory_xact_lock(_LOCK))
        ):
            return False
        oldest = connection.scalar(select(func.min(LEDGER.c.at)))
        day = None if oldest is None else int(oldest // DAY_S)
        if day is None or (day + 1) * DAY_S > database_now(connection) - keep_s:
            return False
        within = (LEDGER.c.at >= day * DAY_S, LEDGER.c.at < (day + 1) * DAY_S)
        ids = select(LEDGER.c.id).where(*within).order_by(LEDGER.c.id).limit(rows)
        gone = connection.execute(delete(LEDGER).where(LEDGER.c.id.in_(ids)).returning(*LEDGER.columns)).all()
        _add(connection, day, gone)
        return True


def _add(connection: Connection, day: int, rows: Iterable[Row[tuple[object, ...]]]) -> None:
    sums: dict[tuple[object, ...], list[int]] = {}
    for row in rows:
        names = (day, row.key_id or 0, row.model, row.route_id, row.provider)
        counted = (1, row.status >= 400, row.resumed, row.input_tokens, row.output_tokens, row.usd_nano)
        found = sums.setdefault(names, [0] * len(counted))
        found[:] = [before + one for before, one in zip(found, counted, strict=True)]
    for group, found in sums.items():
        mine = [LEDGER_DAYS.c[name] == value for name, value in zip(_NAMES, group, strict=True)]
        more = {name: LEDGER_DAYS.c[name] + one for name, one in zip(_SUMS, found, strict=True)}
        if not connection.execute(update(LEDGER_DAYS).where(*mine).values(more)).rowcount:
            connection.execute(insert(LEDGER_DAYS).values(dict(zip((*_NAMES, *_SUMS), (*group, *found), strict=True))))
