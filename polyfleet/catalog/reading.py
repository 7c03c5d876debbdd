"""Reads the packaged tables: CSV with a header, all cells text."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from polyfleet.catalog.spelling import closest
from polyfleet.errors import CatalogError

TABLES = Path(__file__).parent / "tables"
Row = dict[str, str]


def read_table(name: str) -> list[Row]:
    """Rows of a packaged table. Raises CatalogError that names the file where it is missing."""
    path = TABLES / name
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise CatalogError(
            "a table of the catalog is missing", file=f"catalog/tables/{name}", hint="reinstall polyfleet"
        ) from None


def optional_float(text: str) -> float | None:
    return float(text) if text else None


def optional_int(text: str) -> int | None:
    return int(text) if text else None


def did_you_mean(wanted: str, known: Iterable[str], also: Iterable[str] = ()) -> str:
    """A hint with the closest of the known names and of `also` (aliases): see `closest`; where none is close, a start
    of the list of known names."""
    shown = sorted(set(known))
    near = closest(wanted, (*shown, *also))
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "known: " + ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
