"""Live prices into the user's file: read lists, merge, write whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyfleet.catalog.imports.fetch import Fetch
from polyfleet.catalog.imports.listed import Row
from polyfleet.catalog.imports.merge import Merged, merge, price
from polyfleet.catalog.imports.rates import lay_rates
from polyfleet.catalog.imports.recognise import read_file
from polyfleet.catalog.imports.sources import SOURCES, Found, Wanted, fetch_source
from polyfleet.catalog.imports.user_file import check_readable, read_rows, to_csv
from polyfleet.catalog.reading import did_you_mean
from polyfleet.errors import CatalogError
from polyfleet.files import check_writable, write_whole


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh read and did; `written` is the file, None where nothing was to be written."""

    found: tuple[Found, ...]
    merged: Merged
    written: Path | None


def refresh(
    lists: Sequence[str],
    out: Path,
    fetch: Fetch,
    wanted: Wanted,
    *,
    as_of: str = "",
    accept: Sequence[str] = (),
    prune: bool = False,
    dry_run: bool = False,
) -> Refreshed:
    """Read lists (names of SOURCES, or files) and merge their prices into the user's file `out` by offer id.

    Prices that move by more than MOST are held back unless accepted; with `prune`, rows that a list has no more are
    dropped. Raises CatalogError where a list is not whole or not understood at all, InputError where `out` cannot be
    written; the old file then stands as it was.
    """
    check_writable(out)
    read_rows(out)  # a broken file is told before anything is asked
    found = tuple(_read(name, fetch, wanted, as_of) for name in lists)
    merged = merge(read_rows(out), _together(found), accept)  # as it is now: reading may have taken minutes
    for one in found:
        if one.bands:
            lay_rates(merged, one.bands, one.source, one.as_of, one.tally)
    if prune:
        for name in merged.gone:
            del merged.rows[name]
    text = to_csv(merged.rows.values())
    check_readable(text, out.name)
    if dry_run:
        return Refreshed(found, merged, None)
    write_whole(out, text)
    return Refreshed(found, merged, out)


def _read(name: str, fetch: Fetch, wanted: Wanted, as_of: str) -> Found:
    if name in SOURCES:
        found = fetch_source(name, fetch, wanted)
    elif Path(name).exists():
        found = read_file(Path(name), wanted, as_of)
    else:
        raise CatalogError("neither a list nor a file", value=name, hint=did_you_mean(name, SOURCES))
    if not found.cells and not found.bands:
        reasons = ", ".join(f"{n} x {why}" for why, n in found.tally.left_out.most_common(3))
        problem = f"none of its {found.tally.read} rows is a price that is understood"
        raise CatalogError(problem, file=name, hint=reasons or "it is empty")
    return found


def _together(found: Sequence[Found]) -> dict[str, Row]:
    """Of two lists' prices of one offer the newer counts; of one day, the lower."""
    rows: dict[str, Row] = {}
    for one in found:
        for name, cells in one.cells.items():
            other = rows.get(name)
            if other is None or (cells["as_of"], -price(cells)) > (other["as_of"], -price(other)):
                rows[name] = cells
    return rows
