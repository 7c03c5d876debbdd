"""Traces in: one trace whole, or a stretch at a time in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import numpy as np

from polyfleet.errors import TraceError
from polyfleet.terms.demand import Ints, Trace
from polyfleet.traffic import csv_rows, jsonl_rows
from polyfleet.traffic.form import KNOWN_FORMS
from polyfleet.traffic.parquet_rows import parquet_rows
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.rows import Rows, joined
from polyfleet.traffic.source import Block, blocks, is_parquet


def read_trace(path: str | Path) -> Trace:
    """The whole trace, in order of arrival whatever the order of the file (`unsorted` counts what was moved).

    Reads Azure 2023/2024, BurstGPT, Mooncake and polyfleet's own columns in CSV, JSON lines (both plain or gzip) or
    Parquet, told apart by content. Requests without input or output are left out and counted in `dropped`. Takes
    some 100 bytes a request; `scan_trace` and `summarise` take bounded memory. Raises TraceError.
    """
    rows = joined(list(scan_rows(path)))
    out_of_place = moved(rows.time_ns, -1)
    if out_of_place:
        rows = rows.picked(np.argsort(rows.time_ns, kind="stable"))
    return _trace(rows, int(rows.time_ns[0]), str(path), out_of_place)


def scan_trace(path: str | Path) -> Iterator[Trace]:
    """The same trace as stretches of about half a million requests, each in order and after the one before.

    `arrival_s` counts from the first request of the whole trace; `dropped` and `unsorted` count what was met since the
    stretch before. Requests out of place by less than a stretch are put in order; one further out raises TraceError.
    """
    order = _Reordering(str(path))
    for rows in scan_rows(path):
        yield from order.push(rows)
    yield from order.flush()


def scan_rows(path: str | Path) -> Iterator[Rows]:
    """The requests in the order of the file, in stretches of at least one; those without input or output left out.

    Raises TraceError, also where nothing is left.
    """
    path = Path(path)
    dated: bool | None = None
    empty, any_left = 0, False
    for whole in parquet_rows(path) if is_parquet(path) else _text_rows(path):
        if dated not in (None, whole.dated):
            hint = "all times must be dates, or all must count from the start of the trace"
            raise TraceError("the time column changes its meaning", file=str(path), line=whole.line, hint=hint)
        dated = whole.dated
        rows = whole.without_empty()
        empty += rows.dropped
        if len(rows):
            any_left = True
            yield replace(rows, dropped=empty)
            empty = 0
    if empty and any_left:
        none = np.zeros(0, dtype=np.int64)
        yield Rows(none, none, none, none, bool(dated), 0, empty)
    if not any_left:
        problem = "no request with both input and output tokens" if empty else "no requests"
        hint = f"all {empty:,} have zero input or output tokens" if empty else "the file holds a header only"
        raise TraceError(problem, file=str(path), hint=hint)


def trace_start(time_ns: int) -> str:
    """ISO 8601 UTC of nanoseconds since 1970, to the nanosecond."""
    second = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // 10**9)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9:09d}Z"


class _Reordering:
    """Holds one stretch back, so that requests out of place by less than that come out in order."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._held: Rows | None = None
        self._origin_ns = self._emitted_ns = self._latest_ns = -1
        self._dropped = self._moved = 0

    def push(self, rows: Rows) -> Iterator[Trace]:
        self._dropped += rows.dropped
        if not len(rows):
            return
        if int(rows.time_ns.min()) < self._emitted_ns:
            line = rows.line + int(np.argmin(rows.time_ns))
            hint = "sort the file by time, or use read_trace or summarise, which take any order"
            raise TraceError("a request far out of order", file=self._file, line=line, hint=hint)
        self._moved += moved(rows.time_ns, self._latest_ns)
        self._latest_ns = max(self._latest_ns, int(rows.time_ns.max()))
        ready = 0 if self._held is None else len(self._held)
        both = rows if self._held is None else joined([self._held, rows])
        both = both.picked(np.argsort(both.time_ns, kind="stable"))
        self._held = both.picked(slice(ready, None))
        if ready:
            yield self._emit(both.picked(slice(0, ready)))

    def flush(self) -> Iterator[Trace]:
        if self._held is not None:
            yield self._emit(self._held)

    def _emit(self, rows: Rows) -> Trace:
        if self._emitted_ns < 0:
            self._origin_ns = int(rows.time_ns[0])
        self._emitted_ns = int(rows.time_ns[-1])
        out = _trace(replace(rows, dropped=self._dropped), self._origin_ns, self._file, self._moved)
        self._dropped = self._moved = 0
        return out


def moved(time_ns: Ints, latest_ns: int) -> int:
    """How many requests come after one that arrived later than they; `latest_ns` is the latest before these."""
    latest = np.maximum.accumulate(np.concatenate([[latest_ns], time_ns]))
    return int((time_ns < latest[:-1]).sum())


def _trace(rows: Rows, origin_ns: int, source: str, unsorted: int) -> Trace:
    return Trace(
        (rows.time_ns - origin_ns) / 1e9,
        rows.input_tokens,
        rows.output_tokens,
        rows.cached_tokens,
        trace_start(origin_ns) if rows.dated else None,
        source,
        rows.dropped,
        unsorted,
    )


def _text_rows(path: Path) -> Iterator[Rows]:
    source = blocks(path)
    for block in source:
        text, rest = _first_line(block)
        if not text:
            continue
        file, prefixes = str(path), PrefixMemory()
        if text.startswith(b"["):
            hint = "write one JSON object a line, without brackets around them (jq -c '.[]')"
            raise TraceError("a JSON array", file=file, line=block.line, hint=hint)
        if text.startswith(b"{"):
            form = jsonl_rows.read_form(text, file, rest.line - 1)
            for part in chain([block], source):
                yield jsonl_rows.block_rows(part, form, file, prefixes)
            return
        layout = csv_rows.read_header(text, file, rest.line - 1)
        for part in chain([rest], source):
            yield csv_rows.block_rows(part, layout)
        return
    raise TraceError("empty file", file=str(path), hint=KNOWN_FORMS)


def _first_line(block: Block) -> tuple[bytes, Block]:
    """The first line with something on it, and what follows."""
    line, rest = block.line, block.data
    while rest:
        text, _, rest = rest.partition(b"\n")
        line += 1
        if text.strip():
            return text.strip(), Block(line, rest)
    return b"", block
