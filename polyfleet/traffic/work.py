"""What requests cost a replica, in three measures that buckets must keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.terms.demand import Floats, Ints

QUADRATIC = 2e-5
"""Attention FLOPs over the other FLOPs of a prompt token, per token of context. A dense transformer has 2 P FLOPs a
token and 4 L d more per token of context, half of it seen on average: a = L d / P = 1 / (12 d) with P = 12 L d^2. 2e-5
is d = 4096, an 8B model (Llama-3-8B: 32 x 4096 / 8.0e9 = 1.6e-5); larger models have less, so their error is less."""

MEASURES = ("prefill", "decode", "kv_residency")


@dataclass(frozen=True, slots=True)
class Work:
    """Sums over requests, or of one. `prefill`: prompt tokens computed, long ones weighted by attention. `decode`:
    tokens generated. `kv_residency`: tokens of KV cache times the steps that they stay."""

    prefill: float
    decode: float
    kv_residency: float

    def as_tuple(self) -> tuple[float, float, float]:
        return self.prefill, self.decode, self.kv_residency

    def error_of(self, approximate: Work) -> Work:
        """Relative error of an approximation, measure by measure, signed."""
        pairs = zip(self.as_tuple(), approximate.as_tuple(), strict=True)
        return Work(*((a - t) / t if t else 0.0 for t, a in pairs))

    @property
    def largest(self) -> float:
        """The measure furthest from 0."""
        return max(abs(v) for v in self.as_tuple())


def prefill(input_tokens: Floats | Ints, cached_tokens: Floats | Ints) -> Floats:
    """(n,) uncached prompt tokens, plus attention of each to all tokens before it: (i - c) + a (i^2 - c^2)."""
    i, c = input_tokens.astype(float), cached_tokens.astype(float)
    return np.asarray((i - c) * (1 + QUADRATIC * (i + c)))


def kv_residency(input_tokens: Floats | Ints, output_tokens: Floats | Ints) -> Floats:
    """(n,) KV tokens held, summed over the steps of the answer: o (i + o / 2)."""
    i, o = input_tokens.astype(float), output_tokens.astype(float)
    return np.asarray(o * (i + o / 2))
