"""Where what runs and what was used is kept: SQLite on one machine, PostgreSQL for several."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from polyfleet.errors import InputError
from polyfleet.settings import Settings

_BUSY_MS = 10_000
"""How long a writer of SQLite waits for another."""


def default_url(settings: Settings) -> str:
    """The state of a project that names none: a file in its `.polyfleet/`."""
    return f"sqlite:///{settings.home / 'state.db'}"


def open_database(url: str) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://...`; made and answering.

    SQLite runs in WAL mode, and every transaction takes its write lock at once (BEGIN IMMEDIATE), so that two
    processes that read and then write cannot both act on the same reading. Raises InputError where the address is
    wrong, the driver is missing or nothing answers; the message carries no password.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        engine = create_engine(address, connect_args={"timeout": _BUSY_MS / 1000})
        event.listen(engine, "connect", _tune)
        event.listen(engine, "begin", _begin_immediate)
    else:
        engine = create_engine(address, pool_pre_ping=True)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise InputError(f"the state at {address.render_as_string()} cannot be opened: {reason}") from None
    return engine


def _address(url: str) -> URL:
    try:
        address = make_url(url)
        if address.get_backend_name() == "postgresql":
            return address.set(drivername="postgresql+psycopg")
        if address.get_backend_name() == "sqlite":
            return address
    except (ArgumentError, NoSuchModuleError):
        pass
    raise InputError("this is no state address", hint="sqlite:///PATH, or postgresql://USER@HOST/DATABASE")


def _tune(connection: object, _record: object) -> None:
    """WAL lets readers go on beside the writer; the driver's own transactions are off, see `_begin_immediate`."""
    connection.isolation_level = None  # type: ignore[attr-defined]  # the driver's own, which has no type
    cursor = connection.cursor()  # type: ignore[attr-defined]  # the driver's own, which has no type
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: object) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]  # the driver's own, which has no type
