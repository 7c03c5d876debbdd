"""Reads the packaged tables: CSV with a header, all cells text."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

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


def squeezed(name: str) -> str:
    """A name without case, spaces, dashes, underscores: how names are compared."""
    return "".join(c for c in name.casefold() if c not in " -_")


def did_you_mean(wanted: str, known: Iterable[str], also: Iterable[str] = ()) -> str:
    """A hint with the closest of the known names and of `also` (aliases), compared squeezed.

    Names that hold what was written come first, then those spelled alike; where there is neither, a start of the list
    of known names.
    """
    shown = sorted(set(known))
    names = {squeezed(k): k for k in (*also, *shown)}
    text = squeezed(wanted)
    near = [key for key in sorted(names) if len(text) > 2 and text in key][:3]
    near = near or get_close_matches(text, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(names[key] for key in near) + "?"
    return "known: " + ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
