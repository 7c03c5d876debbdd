"""Requests gathered one record at a time, each value checked and named when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polyfleet.errors import TraceError
from polyfleet.traffic import line as read
from polyfleet.traffic.form import Form
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.rows import Rows


class RecordReader:
    """Collects the records of one block. `add` raises TraceError with the line."""

    def __init__(self, form: Form, file: str, prefixes: PrefixMemory) -> None:
        self._form, self._file, self._prefixes = form, file, prefixes
        self._rows: list[tuple[int, int, int, int]] = []
        self._hashes: list[Sequence[object] | None] = []
        self._dated: bool | None = None

    def add(self, record: Mapping[str, object], line: int) -> None:
        """One request: values by column name."""
        form, file = self._form, self._file
        time_ns, dated = read.time_ns(record.get(form.time), form.unit, form.time, file, line)
        if self._dated not in (None, dated):
            hint = "all times must be dates, or all must count from the start of the trace"
            raise TraceError(f"{form.time} changes its meaning", file=file, line=line, hint=hint)
        self._dated = dated
        input_tokens = read.tokens(record.get(form.input), form.input, file, line)
        output_tokens = read.tokens(record.get(form.output), form.output, file, line)
        cached = read.tokens(record.get(form.cached), form.cached, file, line) if form.cached else 0
        if cached > input_tokens:
            hint = f"{form.cached} counts a part of {form.input}"
            raise TraceError(f"{form.cached} exceeds {form.input}", file=file, line=line, value=cached, hint=hint)
        self._rows.append((time_ns, input_tokens, output_tokens, cached))
        if form.hashes:
            self._hashes.append(self._ids(record.get(form.hashes), line))

    def rows(self, line: int) -> Rows:
        """What was added, `line` being the block's first."""
        table = np.array(self._rows, dtype=np.int64).reshape(-1, 4)
        cached = table[:, 3]
        if self._form.hashes:
            cached = self._prefixes.cached_tokens(self._hashes, table[:, 1])
        return Rows(table[:, 0], table[:, 1], table[:, 2], cached, bool(self._dated), line)

    def _ids(self, value: object, line: int) -> Sequence[object] | None:
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(v, int | str) for v in value):
            return value
        hint = "a list of block ids is expected"
        raise TraceError(f"{self._form.hashes} is no list of ids", file=self._file, line=line, value=value, hint=hint)
