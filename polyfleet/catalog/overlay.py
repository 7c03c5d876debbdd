"""The user's own offers: a CSV whose rows are laid over the catalog, so that a negotiated price wins.

A row names an offer by `id`, or by `provider`, `region`, `instance_type` (for `per_token`: the model) and `purchase`.
Where the catalog lists that offer, the row needs its price alone and every other filled cell replaces what is listed. A
new offer needs `chip` and `chips` too if it is rented, and `continent` where the catalog does not know its region.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.offers import offer_id
from polyfleet.catalog.reading import did_you_mean
from polyfleet.catalog.regions import load_blocks, load_regions
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Offer, Purchase

_KEY = ("provider", "region", "instance_type", "purchase")
_COUNTS = ("chips", "domain_chips", "quota_instances")
_AMOUNTS = ("usd_per_hour", "link_gb_s", "vcpus", "memory_gib", "interruptions_per_month")
_TEXTS = ("continent", "jurisdiction", "source", "as_of", "note")
_RENTED_ONLY = ("chip", *_COUNTS, *_AMOUNTS)
_TOKEN_NEEDED = ("usd_per_million_input", "usd_per_million_output")
_TOKEN_AMOUNTS = (
    *_TOKEN_NEEDED,
    "usd_per_million_cached_input",
    "usd_per_million_batch_input",
    "usd_per_million_batch_output",
    "tokens_per_minute",
    "requests_per_minute",
)
_TOKEN_ONLY = (*_TOKEN_AMOUNTS, "chip_vendor")
COLUMNS = ("id", *_KEY, *_RENTED_ONLY, *_TOKEN_ONLY, *_TEXTS)
_MAY_BE_ZERO = ("quota_instances", "interruptions_per_month", "vcpus", "memory_gib")


@dataclass(frozen=True, slots=True)
class OverlayRow:
    """One row of the user's file: the place it stands at and its filled cells, already read."""

    file: str
    line: int
    key: tuple[str, str, str, str]
    cells: Mapping[str, Any]

    @property
    def id(self) -> str:
        return offer_id(*self.key)

    @property
    def by_token(self) -> bool:
        return self.key[3] == Purchase.PER_TOKEN

    def error(self, problem: str, value: object, hint: str) -> CatalogError:
        return CatalogError(problem, file=self.file, line=self.line, value=value, hint=hint)

    @property
    def place(self) -> tuple[str, str]:
        """Continent and jurisdiction, as the row or the catalog tells. Raises CatalogError where neither does."""
        provider, region, *_ = self.key
        known = load_regions().get((provider, region), {})
        continent = self.cells.get("continent") or known.get("continent")
        if not continent:
            hint = "the catalog does not know this region: fill continent (us, eu, ap, ...)"
            raise self.error("where the region lies is missing", region, hint)
        return continent, self.cells.get("jurisdiction") or known.get("jurisdiction") or continent


def read_content(path: Path) -> bytes:
    """Bytes of the user's file. Raises CatalogError that names it where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CatalogError("no such file", file=str(path), hint="a CSV of your own offers is expected") from None
    except OSError as error:
        raise CatalogError(f"cannot be read: {error.strerror}", file=str(path)) from None


def parse_overlay(content: bytes, file: str) -> tuple[OverlayRow, ...]:
    """Rows out of the bytes of a CSV. Raises CatalogError only."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CatalogError("is not UTF-8 text", file=file, hint="save it as CSV (UTF-8)") from None
    rows: list[OverlayRow] = []
    lines: dict[str, int] = {}
    for line, cells in _records(text, file):
        row = _row(cells, file, line)
        if row.id in lines:
            raise CatalogError(f"the offer stands on line {lines[row.id]} already", file=file, line=line, value=row.id)
        lines[row.id] = line
        rows.append(row)
    return tuple(rows)


def lay_over(offers: tuple[Offer, ...], rows: tuple[OverlayRow, ...]) -> tuple[Offer, ...]:
    """Rented offers with the user's rows laid over them, by id; rows of token prices are left alone.

    Raises CatalogError where a new offer is not fully told, or where a row contradicts the listed chip.
    """
    laid = {offer.id: offer for offer in offers}
    for row in rows:
        if row.by_token:
            continue
        listed = laid.get(row.id)
        laid[row.id] = _changed(listed, row) if listed else _new(row)
    return tuple(laid[name] for name in sorted(laid))


def _records(text: str, file: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells, file, reader.line_num)
                continue
            if len(cells) != len(header):
                problem = f"the row has {len(cells)} cells, the header {len(header)}"
                raise CatalogError(problem, file=file, line=reader.line_num)
            filled = ((name, cell.strip()) for name, cell in zip(header, cells, strict=True))
            yield reader.line_num, {name: cell for name, cell in filled if cell}
    except csv.Error as error:
        raise CatalogError(f"is no CSV: {error}", file=file, line=reader.line_num) from None
    if not header:
        raise CatalogError("is empty", file=file, hint=f"columns: {', '.join(COLUMNS)}")


def _header(cells: list[str], file: str, line: int) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    for name in header:
        if name not in COLUMNS:
            raise CatalogError("unknown column", file=file, line=line, value=name, hint=did_you_mean(name, COLUMNS))
        if header.count(name) > 1:
            raise CatalogError("the column stands twice", file=file, line=line, value=name)
    has_price = "usd_per_hour" in header or set(_TOKEN_NEEDED) <= set(header)
    if not has_price or not ("id" in header or set(_KEY) <= set(header)):
        hint = f"needed: usd_per_hour (or {' and '.join(_TOKEN_NEEDED)}), and id or {', '.join(_KEY)}"
        raise CatalogError("columns are missing", file=file, line=line, value=", ".join(header), hint=hint)
    return header


def _row(cells: dict[str, str], file: str, line: int) -> OverlayRow:
    try:
        key = _key(cells)
        read: dict[str, Any] = {name: cells[name] for name in (*_TEXTS, "chip_vendor") if name in cells}
        numbers = (*_COUNTS, *_AMOUNTS, *_TOKEN_AMOUNTS)
        read |= {name: _number(cells[name], name) for name in numbers if name in cells}
        if "chip" in cells:
            read["chip"] = find_chip(cells["chip"])
        _check_kind(key[3], read)
        _check_date(read.get("as_of", ""))
        if unknown := set(read.get("continent", "").split("+")) - _continents() - {""}:
            hint = f"one of {', '.join(sorted(_continents()))}"
            raise CatalogError("unknown continent", value=min(unknown), hint=hint)
    except CatalogError as error:
        raise error.at(file, line) from None
    return OverlayRow(file, line, key, read)


def _check_kind(purchase: str, cells: Mapping[str, Any]) -> None:
    """A rented offer has a price by the hour, a hosted one by the token, and neither has the other's cells."""
    by_token = purchase == Purchase.PER_TOKEN
    needed, others = (_TOKEN_NEEDED, _RENTED_ONLY) if by_token else (("usd_per_hour",), _TOKEN_ONLY)
    if missing := [name for name in needed if name not in cells]:
        raise CatalogError("the price is missing", value=missing[0], hint=f"an offer {purchase} needs it")
    if stray := [name for name in others if name in cells]:
        raise CatalogError(
            f"{stray[0]} means nothing for {purchase}", value=str(cells[stray[0]]), hint="leave it empty"
        )


def _check_date(as_of: str) -> None:
    try:
        well_formed = not as_of or date.fromisoformat(as_of).isoformat() == as_of
    except ValueError:
        well_formed = False
    if not well_formed:
        raise CatalogError("as_of is no date", value=as_of, hint="write it as 2026-09-30")


def _key(cells: Mapping[str, str]) -> tuple[str, str, str, str]:
    if "id" in cells:
        parts = cells["id"].split(":")
        if len(parts) != 4:
            hint = "an id is provider:region:instance_type:purchase"
            raise CatalogError("the id is not one of an offer", value=cells["id"], hint=hint)
        told = dict(zip(_KEY, parts, strict=True))
        if clash := [k for k in _KEY if cells.get(k, told[k]) != told[k]]:
            raise CatalogError(f"{clash[0]} differs from the id", value=cells[clash[0]])
    else:
        told = {k: cells.get(k, "") for k in _KEY}
    for name, value in told.items():
        if not value.strip() or ":" in value:
            raise CatalogError(f"{name} is missing or holds a colon", value=value)
    if told["purchase"] not in (known := [p.value for p in Purchase]):
        raise CatalogError("unknown purchase", value=told["purchase"], hint=f"one of {', '.join(known)}")
    return told["provider"], told["region"], told["instance_type"], told["purchase"]


def _number(text: str, name: str) -> float | int:
    try:
        value = float(text)
    except ValueError:
        raise CatalogError(f"{name} is not a number", value=text) from None
    if not math.isfinite(value) or value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        raise CatalogError(f"{name} must be a finite number above zero", value=text)
    if name not in _COUNTS:
        return value
    if value != int(value):
        raise CatalogError(f"{name} must be a whole number", value=text)
    return int(value)


def _continents() -> frozenset[str]:
    return frozenset().union(*load_blocks().values())


def _changed(listed: Offer, row: OverlayRow) -> Offer:
    cells = dict(row.cells)
    own_chip = cells.pop("chip", None)
    for name, own, theirs in (
        ("chip", own_chip.name if own_chip else listed.chip, listed.chip),
        ("chips", cells.get("chips", listed.chips), listed.chips),
    ):
        if own != theirs:
            raise row.error(f"{name} differs from the listed offer's", own, f"it has {theirs}")
    cells.setdefault("as_of", "")
    cells.setdefault("source", f"{row.file} line {row.line}")
    return replace(listed, **cells, quality="user")


def _new(row: OverlayRow) -> Offer:
    provider, region, instance_type, purchase = row.key
    cells = row.cells
    if missing := [name for name in ("chip", "chips") if name not in cells]:
        hint = "the catalog lists no such offer: tell its chip and chips, or correct its name"
        raise row.error(f"{missing[0]} is missing", row.id, hint)
    continent, jurisdiction = row.place
    chip, chips = cells["chip"], cells["chips"]
    return Offer(
        id=row.id,
        provider=provider,
        region=region,
        continent=continent,
        jurisdiction=jurisdiction,
        instance_type=instance_type,
        chip=chip.name,
        chip_vendor=chip.vendor,
        chips=chips,
        domain_chips=cells.get("domain_chips") or (min(chips, chip.domain_chips) if chip.domain_chips > 1 else chips),
        link_gb_s=cells.get("link_gb_s") or chip.link_gb_s,
        vcpus=cells.get("vcpus", 0.0),
        memory_gib=cells.get("memory_gib", 0.0),
        purchase=Purchase(purchase),
        usd_per_hour=cells["usd_per_hour"],
        quota_instances=cells.get("quota_instances"),
        interruptions_per_month=cells.get("interruptions_per_month"),
        source=cells.get("source", f"{row.file} line {row.line}"),
        as_of=cells.get("as_of", ""),
        quality="user",
        note=cells.get("note", ""),
    )
