"""Bytes that arrive in chunks, as CSV rows or JSON, without ever holding a whole list."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from polyfleet.catalog.reading import did_you_mean
from polyfleet.errors import CatalogError

_LONGEST_LINE = 1 << 20
_LARGEST_JSON = 128 << 20
_READ = 1 << 18


class _Chunks(io.RawIOBase):
    """Chunks as a raw stream, for the standard library's text decoding."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class CsvRows:
    """A CSV's rows after its header: each a list of as many cells as the header has. Columns are found by name.

    `skip` lines stand before the header; `preamble` has them. Raises CatalogError only: no UTF-8, no CSV, a row of
    another width (where `loose_last` names the last column, what is too much belongs to it).
    """

    def __init__(self, chunks: Iterable[bytes], file: str, *, skip: int = 0, loose_last: str = "") -> None:
        self.file = file
        self._reader = csv.reader(_lines(chunks, file), strict=True)
        self._loose_last = loose_last
        self.preamble = [self._next() or [] for _ in range(skip)]
        self.header = [name.strip() for name in self._next() or []]

    @property
    def line(self) -> int:
        return self._reader.line_num

    def columns(self, *names: str) -> tuple[int, ...]:
        """Places of columns. Raises CatalogError that names the one that is missing and the closest there is."""
        return tuple(self.column(name) for name in names)

    def column(self, name: str) -> int:
        if name in self.header:
            return self.header.index(name)
        here = [h for h in self.header if h][:200]
        hint = did_you_mean(name, here) if here else "the list is empty"
        raise CatalogError(f"the column {name} is missing: has the list changed its form?", file=self.file, hint=hint)

    def optional(self, name: str) -> int | None:
        return self.header.index(name) if name in self.header else None

    def __iter__(self) -> Iterator[list[str]]:
        width = len(self.header)
        while (cells := self._next()) is not None:
            if len(cells) == width:
                yield cells
            elif not cells:
                continue
            elif len(cells) > width and self.header[-1] == self._loose_last:
                yield cells[:width]
            else:
                problem = f"the row has {len(cells)} cells, the header {width}: the list is cut short or broken"
                raise CatalogError(problem, file=self.file, line=self.line)

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise CatalogError(f"is no CSV: {error}", file=self.file, line=self.line) from None


def read_json(chunks: Iterable[bytes], file: str) -> Any:
    """One JSON document, at most 128 MiB of it. Raises CatalogError."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > _LARGEST_JSON:
            raise CatalogError("is larger than 128 MiB: no such page is expected", file=file)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        hint = f"{error}"[:120]
        raise CatalogError("is no JSON, or is cut short", file=file, hint=hint) from None


def json_field(record: Any, name: str, kind: type | tuple[type, ...], file: str) -> Any:
    """A field of a JSON object. Raises CatalogError that names it where it is missing or of another kind."""
    here = list(record) if isinstance(record, dict) else []
    if name not in here:
        hint = did_you_mean(name, here[:200]) if here else None
        raise CatalogError(f"the field {name} is missing: has the list changed its form?", file=file, hint=hint)
    value = record[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CatalogError(f"the field {name} is of another kind", file=file, value=value)
    return value


def peeked(chunks: Iterable[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, at least `size` of them where there are as many, and the whole stream again."""
    rest = iter(chunks)
    head: list[bytes] = []
    while sum(len(chunk) for chunk in head) < size and (chunk := next(rest, None)) is not None:
        head.append(chunk)
    return b"".join(head), chain(head, rest)


def _lines(chunks: Iterable[bytes], file: str) -> Iterator[str]:
    """Lines with their ends. A line of more than a MiB is no list's."""
    text = io.TextIOWrapper(io.BufferedReader(_Chunks(chunks), _READ), encoding="utf-8-sig", newline="")
    try:
        while line := text.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise CatalogError("is no price list: a line of more than 1 MiB", file=file)
            yield line
    except UnicodeDecodeError:
        raise CatalogError("is not UTF-8 text", file=file) from None
