"""Which of the plan's size buckets a request belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from math import log


def nearest_bucket(sizes: Sequence[tuple[float, float]], input_tokens: float, output_tokens: float) -> int:
    """Index of the bucket (mean input, mean output) tokens nearest in ratio; 0 where there are none."""
    if len(sizes) < 2:
        return 0
    inputs, outputs = log(max(input_tokens, 1.0)), log(max(output_tokens, 1.0))
    best, least = 0, float("inf")
    for i, (mean_input, mean_output) in enumerate(sizes):
        apart = (inputs - log(mean_input)) ** 2 + (outputs - log(mean_output)) ** 2
        if apart < least:
            best, least = i, apart
    return best
