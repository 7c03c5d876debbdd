"""Prefix blocks seen before: how many input tokens of a request a prefix cache could serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from polyfleet.terms.demand import Ints

BLOCK_TOKENS = 512  # Mooncake's release hashes blocks of 512 tokens
MOST_BLOCKS = 2_000_000  # 1 billion tokens of KV, more than any cache holds; keeps memory bounded


class PrefixMemory:
    """Remembers block ids in the order of the file. Ids not seen among the last 2 to 4 million distinct ones are
    forgotten, so memory is bounded by about 0.4 GB however long the trace."""

    def __init__(self, most_blocks: int = MOST_BLOCKS) -> None:
        self._most = most_blocks
        self._young: set[object] = set()
        self._old: set[object] = set()

    def cached_tokens(self, hashes: Iterable[Sequence[object] | None], input_tokens: Ints) -> Ints:
        """(n,) tokens of the leading blocks already seen. At least one token of a prompt is always computed, since an
        engine needs its output to begin: vLLM's prefix cache does the same."""
        leading = [self._leading(ids) if ids is not None and len(ids) else 0 for ids in hashes]
        return np.clip(np.array(leading, dtype=np.int64) * BLOCK_TOKENS, 0, np.maximum(input_tokens - 1, 0))

    def _leading(self, ids: Sequence[object]) -> int:
        seen = 0
        for block in ids:
            if block not in self._young and block not in self._old:
                break
            seen += 1
        self._young.update(ids)
        if len(self._young) > self._most:
            self._old, self._young = self._young, set()
        return seen
