"""Requests of a stretch of a trace, in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polyfleet.terms.demand import Ints

MOST_TOKENS = 100_000_000
LAST_NS = 2**63 - 2**53  # year 2262


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """`time_ns` (n,) nanoseconds since 1970 where `dated`, else since the trace's own zero; `input_tokens`,
    `output_tokens`, `cached_tokens` (n,). `dropped` rows were left out. `line` of the first row in the file."""

    time_ns: Ints
    input_tokens: Ints
    output_tokens: Ints
    cached_tokens: Ints
    dated: bool
    line: int
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.time_ns)

    def sound(self) -> bool:
        """Whether every value can be a request's. The line reader says which one is not, and why."""
        tokens = (self.input_tokens, self.output_tokens, self.cached_tokens)
        return not len(self) or bool(
            self.time_ns.min() >= 0
            and all(t.min() >= 0 and t.max() <= MOST_TOKENS for t in tokens)
            and np.all(self.cached_tokens <= self.input_tokens)
        )

    def without_empty(self) -> Rows:
        """The rows with both input and output: a request with none of either was refused or failed."""
        keep = (self.input_tokens > 0) & (self.output_tokens > 0)
        return self if keep.all() else replace(self.picked(keep), dropped=self.dropped + int((~keep).sum()))

    def picked(self, which: np.ndarray[tuple[int], np.dtype[np.bool_ | np.int64]] | slice) -> Rows:
        """The rows of a mask, an index or a slice, with what was dropped before."""
        return replace(
            self,
            time_ns=self.time_ns[which],
            input_tokens=self.input_tokens[which],
            output_tokens=self.output_tokens[which],
            cached_tokens=self.cached_tokens[which],
        )


def joined(parts: list[Rows]) -> Rows:
    """Stretches one after the other. At least one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Rows(
        np.concatenate([p.time_ns for p in parts]),
        np.concatenate([p.input_tokens for p in parts]),
        np.concatenate([p.output_tokens for p in parts]),
        np.concatenate([p.cached_tokens for p in parts]),
        first.dated,
        first.line,
        sum(p.dropped for p in parts),
    )
