"""How much work a request is, in tokens of output."""

from __future__ import annotations

INPUT_WORK = 0.25
"""What a token of input costs in tokens of output. Assumed; llama.cpp on two cores took 15 ms for 128 tokens in and
0.5 ms for each token out (2026-11-24), which is 0.23."""


def work_tokens(input_tokens: float, output_tokens: float) -> float:
    """The work of a request in tokens of output; at least one token, so that no request is free."""
    return max(1.0, INPUT_WORK * input_tokens + output_tokens)
