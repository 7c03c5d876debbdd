"""Rows of the ledger, on their way into the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, Float, Integer, Text

from polyfleet.gate.keys.passes import Pass, Used, nano
from polyfleet.gate.keys.tables import LEDGER

Row = tuple[Any, ...]
_LONGEST = 300
_COLUMNS = [column for column in LEDGER.columns if column.name != "id"]
_NAMES = ", ".join(column.name for column in _COLUMNS)
_PG = {Float: "double precision", BigInteger: "bigint", Integer: "integer", Text: "text"}
_INSERT = {
    "sqlite": f"INSERT INTO ledger ({_NAMES}) SELECT "
    + ", ".join(f"value->>{at}" for at in range(len(_COLUMNS)))
    + " FROM json_each(?)",
    "postgresql": f"INSERT INTO ledger ({_NAMES}) SELECT "
    + ", ".join(f"(r->>{at})::{_PG[type(column.type)]}" for at, column in enumerate(_COLUMNS))
    + " FROM jsonb_array_elements(%s::jsonb) AS r",
}


def row_of(pass_: Pass, used: Used, at: float) -> Row:
    """A row of the ledger in the order of its columns; `at` in UTC seconds."""
    return (
        at, pass_.admitted_at, pass_.key_id, used.model, used.route_id, used.provider, used.input_tokens,
        used.output_tokens, nano(used.usd), used.request_id, used.status, used.resumed,
    )  # fmt: skip


def write_rows(connection: Connection, rows: Sequence[Row]) -> None:
    """All in one statement of one parameter: the database takes them apart, while requests go on."""
    clean = rows if all(map(_is_clean, rows)) else [_clean(row) for row in rows]
    document = orjson.dumps(clean)
    connection.exec_driver_sql(_INSERT[connection.dialect.name], (document.decode(),))


def _is_clean(row: Row) -> bool:
    """No text in it that a database refuses, or that is far longer than any name."""
    return all(part.isprintable() and len(part) <= _LONGEST for part in row if isinstance(part, str))


def _clean(row: Row) -> Row:
    return tuple(_name(part) if isinstance(part, str) else part for part in row)


def _name(text: str) -> str:
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]
