"""The tables of keys, money and use, in SQLite and PostgreSQL alike."""

from __future__ import annotations

import time

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)

METADATA = MetaData()
DAY_S = 86_400
_SERIAL = BigInteger().with_variant(Integer, "sqlite")
_LOCK = 7_307_251
"""Any number that nobody else locks: only one process makes the tables at a time."""

KEYS = Table(
    "keys", METADATA,
    Column("id", _SERIAL, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the key
    Column("admin", Boolean, nullable=False),
    Column("models", Text, nullable=False),  # JSON list; empty: all
    Column("created_at", Float(53), nullable=False),  # UTC seconds, as all times here
    Column("revoked_at", Float(53)),
    Column("changed", BigInteger, nullable=False, index=True),  # the number of the change, see KEY_CHANGES
)  # fmt: skip
"""A key is revoked, never deleted: the ledger goes on naming it."""

KEY_CHANGES = Table("key_changes", METADATA, Column("id", Integer, primary_key=True), Column("number", BigInteger))
"""One row: how often keys were changed. Whoever changes a key counts it up first, which puts changes in a row."""

BUDGETS = Table(
    "budgets", METADATA,
    Column("id", _SERIAL, primary_key=True),
    Column("key_id", ForeignKey(KEYS.c.id), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("limit", BigInteger, nullable=False),
    Column("per_s", Float(53)),  # None: once and for all
    Column("from_at", Float(53), nullable=False),  # periods are counted from here
    Column("period", BigInteger, nullable=False),  # the one that `used` is of
    Column("used", BigInteger, nullable=False),
    Column("hungry_until", Float(53), nullable=False),  # until then other workers give back what they do not need
)  # fmt: skip
"""What a key may use: `usd` in billionths per period, `requests` and `tokens` in any 60 s."""

WORKERS = Table(
    "workers", METADATA,
    Column("id", String(32), primary_key=True),
    Column("turn", BigInteger, nullable=False),  # its last exchange, so that none counts twice
    Column("expires_at", Float(53), nullable=False, index=True),
)  # fmt: skip
"""Gate processes that hold leases. One that is heard of no more keeps them until it expires."""

LEASES = Table(
    "leases", METADATA,
    Column("budget_id", ForeignKey(BUDGETS.c.id), primary_key=True),
    Column("worker", String(32), primary_key=True, index=True),
    Column("period", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("free", BigInteger, nullable=False),  # what of it was not needed when it was last told
)  # fmt: skip
"""Parts of budgets that workers hold. The parts of a period and what was used of it are never more than the limit."""

LEDGER = Table(
    "ledger", METADATA,
    Column("id", _SERIAL, primary_key=True),
    Column("at", Float(53), nullable=False, index=True),  # when it was settled
    Column("admitted_at", Float(53), nullable=False),
    Column("key_id", BigInteger),  # None: the gate asked for no key
    Column("model", Text, nullable=False),
    Column("route_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("usd_nano", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("resumed", Integer, nullable=False),
)  # fmt: skip
"""Every request that was let in and ended, as long as rows are kept."""

LEDGER_DAYS = Table(
    "ledger_days", METADATA,
    Column("day", BigInteger, primary_key=True, autoincrement=False),  # UTC days since 1970
    Column("key_id", BigInteger, primary_key=True, autoincrement=False),  # 0: the gate asked for no key
    Column("model", Text, primary_key=True),
    Column("route_id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("resumed", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("usd_nano", BigInteger, nullable=False),
)  # fmt: skip
"""What older rows came to. A request is in the ledger or in one of these sums, never in both."""


def prepare(engine: Engine) -> None:
    """Make the tables where they are missing; many processes may do so at once."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        METADATA.create_all(connection)
        if connection.scalar(select(KEY_CHANGES.c.number)) is None:
            connection.execute(insert(KEY_CHANGES).values(id=1, number=0))


def database_now(connection: Connection) -> float:
    """UTC seconds by one clock for all workers: the server's, or this machine's where the database is a file of it."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.scalar(select(func.extract("epoch", func.clock_timestamp()))) or 0.0)
