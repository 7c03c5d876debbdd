"""A list saved as a file, recognised by its content."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from polyfleet.catalog.imports import aws_list, aws_savings, azure, gcp, gpuhunt, skypilot, spot_advisor
from polyfleet.catalog.imports.hosts import known_hosts
from polyfleet.catalog.imports.listed import Listed, Tally
from polyfleet.catalog.imports.place import cells_of
from polyfleet.catalog.imports.sources import Found, Wanted
from polyfleet.catalog.imports.stream import peeked, read_json
from polyfleet.catalog.imports.user_file import parse_rows
from polyfleet.catalog.overlay import COLUMNS
from polyfleet.errors import CatalogError

_HEAD = 1 << 16
_READ = 1 << 18
_UNDATED = ("skypilot", "azure", "spot-advisor", "gcp", "gpuhunt")
_ENOUGH = 0.5  # of a form's columns: with fewer it is another form, with one missing the form has changed
_ZONE_ID = re.compile(r"\b[a-z]{2,4}\d-az\d\b")
_KNOWN = (
    "a CSV of SkyPilot or gpuhunt, a gpuhunt zip, Azure's prices, AWS's price list or Savings Plans (CSV), the spot "
    "advisor, Google's SKUs (JSON), or your own offers (CSV) is expected"
)


def read_file(path: Path, wanted: Wanted, as_of: str = "") -> Found:
    """Read a saved list, packed with gzip or not. `as_of` dates a form that bears no date; without it the day on which
    the file was changed does. Raises CatalogError."""
    found = _read(path, wanted, as_of)
    if not as_of and found.name in _UNDATED:
        found.tally.remarks.append(f"{path.name} bears no date: dated by the day it was changed (say --as-of if older)")
    return found


def _read(path: Path, wanted: Wanted, as_of: str) -> Found:
    head, chunks = peeked(_chunks(path), _HEAD)
    tally = Tally()
    day = as_of or _changed(path)
    text = head.decode("utf-8-sig", "ignore").lstrip()
    if head.startswith(b"PK"):
        provider = next((w for w in _words(path) if w in gpuhunt.PROVIDERS), "")
        dated = as_of or gpuhunt.dated(path.name) or day
        prices = list(gpuhunt.read_zip(chunks, str(path), dated, tally, provider))
        return _found("gpuhunt", prices, tally)
    if text.startswith(("{", "[")):
        return _json(read_json(chunks, str(path)), path, day, tally)
    if "FormatVersion" in text[:40]:
        savings = "ComputeSavingsPlan" in text[:2000]
        read, name = (aws_savings.read, "aws-savings-plans") if savings else (aws_list.read, "aws")
        return _found(name, list(read(chunks, str(path), tally)), tally)
    return _csv(text, chunks, path, wanted, day, tally)


def _found(name: str, prices: Iterable[Listed], tally: Tally) -> Found:
    return Found(name, cells_of(prices, name, tally), tally=tally)


def _json(document: Any, path: Path, day: str, tally: Tally) -> Found:
    keys, file = set(document) if isinstance(document, dict) else set(), str(path)
    if keys & {"Items", "NextPageLink", "BillingCurrency"}:
        items, after = azure.page(document, file)
        if after:
            tally.remarks.append(f"{path.name} is one page of several: the others are not in it")
        return _found("azure", list(azure.read(items, day, tally, file)), tally)
    if "spot_advisor" in keys or keys >= {"instance_types", "ranges"}:
        bands = spot_advisor.read(document, tally, file)
        return Found("spot-advisor", bands=bands, source=file, as_of=day, tally=tally)
    if keys & {"skus", "nextPageToken"}:
        if document.get("nextPageToken"):
            tally.remarks.append(f"{path.name} is one page of several: the others are not in it")
        skus = document.get("skus")
        return _found("gcp", list(gcp.read(skus if isinstance(skus, list) else [], day, tally, file)), tally)
    raise CatalogError("this JSON is no price list that is known", file=file, hint=_KNOWN)


def _csv(text: str, chunks: Iterable[bytes], path: Path, wanted: Wanted, day: str, tally: Tally) -> Found:
    file = str(path)
    try:
        header = [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline="")), [])]
    except csv.Error:
        header = []
    if _share(skypilot.COLUMNS, header) >= _ENOUGH:
        cloud = _cloud(text, header, path, wanted)
        return _found("skypilot", list(skypilot.read(chunks, cloud, file, day, tally)), tally)
    if _share(gpuhunt.COLUMNS, header) >= _ENOUGH:
        words = [*wanted.providers, *_words(path)]
        provider = next((gpuhunt.PROVIDERS.get(w, w) for w in words if w in _providers()), "")
        if not provider:
            raise CatalogError("whose prices are these?", file=file, hint="say so with --provider")
        return _found("gpuhunt", list(gpuhunt.read(chunks, provider, file, day, tally)), tally)
    if header and {name.lower() for name in header} <= {*COLUMNS}:
        return _own(b"".join(chunks), path, day, tally)
    raise CatalogError("is no price list that is known", file=file, value=",".join(header)[:60], hint=_KNOWN)


def _own(content: bytes, path: Path, day: str, tally: Tally) -> Found:
    cells = parse_rows(content, path.name)
    tally.read = len(cells)
    for row in cells.values():
        row.setdefault("source", path.name)
        row.setdefault("as_of", day)
        row["note"] = "; ".join(part for part in ("own list", row.get("note", "").removeprefix("own list")) if part)
    return Found("own", cells, tally=tally)


def _share(columns: tuple[str, ...], header: list[str]) -> float:
    return len({*columns} & {*header}) / len(columns)


def _cloud(text: str, header: list[str], path: Path, wanted: Wanted) -> str:
    """Whose list this is: as the user says, as its path says, or as its instance types and zones tell."""
    named = [w for w in (*wanted.providers, *_words(path)) if w in skypilot.CLOUDS]
    if named:
        return named[0]
    place = header.index("InstanceType") if "InstanceType" in header else 0
    votes: Counter[str] = Counter()
    for line in islice(text.splitlines(), 1, None):
        kind = line.split(",")[place].strip('"') if line.count(",") >= place else ""
        votes.update(provider for provider, name in known_hosts() if name == kind)
    if not votes and _ZONE_ID.search(text):
        return "aws"
    if not votes:
        raise CatalogError("whose list is this?", file=str(path), hint="say so with --provider")
    return votes.most_common(1)[0][0]


def _words(path: Path) -> list[str]:
    return [w for part in (path.parent.name, path.stem) for w in re.split(r"[^a-z]+", part.lower()) if w]


def _providers() -> set[str]:
    return {*gpuhunt.PROVIDERS, *gpuhunt.PROVIDERS.values()}


def _changed(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream: Any = gzip.GzipFile(fileobj=file) if packed else file
            while chunk := stream.read(_READ):
                yield chunk
    except IsADirectoryError:
        raise CatalogError("this is a folder, not a file", file=str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"cannot be read: {error}", file=str(path)) from None
