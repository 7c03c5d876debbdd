#!/usr/bin/env python3
"""Ask aiconfigurator 0.12 for every measured row that its database covers.

usage: python tools/bench_aiconfigurator.py measured.csv -o peer.csv    (with the Python of the peer's environment)

Writes what `polyfleet speed --rows` writes: the input columns, the three predictions (the peer gives no band, so `_p10`
and `_p90` stay empty) and `why_not`. How a row is put to it is told in `aiconfigurator_questions.py`. Nothing is filled
in by its formulas: `database_mode` is SILICON, its default and its most exact. In-flight batching runs with its default
context budget, one prompt a step. Offline rows without a batch get its best throughput over batch (up to 1,024, where
its tables end, or what its memory model admits) and context budget (one prompt, or 8,192 tokens, the engine's default).
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import argparse
import csv
import functools
import logging
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiconfigurator_questions import NotCoveredError, Question, question

PREDICTIONS = ("pred_throughput_output_tok_s", "pred_ttft_ms", "pred_tpot_ms")
ADDED = [f"{name}{part}" for name in PREDICTIONS for part in ("", "_p10", "_p90")] + ["why_not"]
NEEDED = ("quality", "hardware", "engine", "engine_version", "model", "weight_dtype", "kv_dtype", "scenario")
MAX_BATCH = 1024
MAX_NUM_TOKENS = 8192


@dataclass(frozen=True)
class Answer:
    """What one replica does: output tokens per second, TTFT and TPOT in ms; None where the mode has no such number."""

    output_tok_s: float | None
    ttft_ms: float | None
    tpot_ms: float | None


def estimate(asked: Question, ctx_tokens: int | None = None) -> Any:
    from aiconfigurator.cli.api import cli_estimate

    return cli_estimate(
        asked.model,
        asked.system,
        mode=asked.mode,
        backend_name=asked.backend,
        backend_version=asked.version,
        isl=asked.input_len,
        osl=asked.output_len,
        batch_size=asked.batch,
        ctx_tokens=ctx_tokens,
        tp_size=asked.tp,
        pp_size=asked.pp,
        attention_dp_size=asked.attention_dp,
        moe_ep_size=asked.moe_ep,
        gemm_quant_mode=asked.weights,
        moe_quant_mode=asked.expert_weights if asked.moe_ep else None,
        kvcache_quant_mode=asked.kv,
    )


def fits(asked: Question, batch: int) -> float | None:
    """Best output tokens per second at this batch over both context budgets; None where it does not fit."""
    whole_prompts = MAX_NUM_TOKENS // asked.input_len * asked.input_len
    budgets = [None] + [whole_prompts] * (asked.input_len < whole_prompts <= asked.input_len * (batch - 1))
    try:
        results = [estimate(replace(asked, batch=batch), budget) for budget in budgets]
    except RuntimeError as error:
        if "OOM" in str(error):
            return None
        raise
    rates = [float(result.tokens_per_second) for result in results if not result.kv_cache_warning]
    return max(rates, default=None)


def best_throughput(asked: Question) -> Answer:
    found: dict[int, float] = {}
    low, high = 0, MAX_BATCH + 1
    batch = 1
    while high - low > max(1, low // 16):
        rate = fits(asked, batch)
        if rate is None:
            high = batch
        else:
            found[batch], low = rate, batch
        batch = min(2 * low, MAX_BATCH) if high > MAX_BATCH and low < MAX_BATCH else (low + high) // 2
    if not found:
        raise NotCoveredError("does not fit in the peer's memory model")
    return Answer(max(found.values()), None, None)


@functools.cache
def answer(asked: Question) -> Answer | str:
    """The peer's figures, or why it has none. It fails in many ways: each is told, none stops us."""
    try:
        if asked.batch is None:
            return best_throughput(asked)
        result = estimate(asked)
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        return f"aiconfigurator: {text.splitlines()[0][:160]}"
    rate = None if asked.mode == "static_ctx" else positive(result.tokens_per_second)
    return Answer(rate, positive(result.ttft), positive(result.tpot) if asked.mode != "static_ctx" else None)


def positive(value: float) -> float | None:
    return float(value) if math.isfinite(value) and value > 0 else None


def predicted(row: dict[str, str]) -> dict[str, str]:
    """The added columns of one row."""
    blank = dict.fromkeys(ADDED, "")
    try:
        asked, replicas = question(row)
    except NotCoveredError as error:
        return blank | {"why_not": str(error)}
    told = answer(asked)
    if isinstance(told, str):
        return blank | {"why_not": told}
    rate = told.output_tok_s and told.output_tok_s * replicas
    figures = zip(PREDICTIONS, (rate, told.ttft_ms, told.tpot_ms), strict=True)
    return blank | {name: f"{value:.6g}" for name, value in figures if value}


def answered(rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    for done, row in enumerate(rows, 1):
        yield row | predicted(row)
        if done % 100 == 0 or done == len(rows):
            print(f"\r{done} of {len(rows)} rows", end="\n" if done == len(rows) else "", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path, help="measured rows (CSV)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the same rows with the peer's predictions")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with given.rows.open(newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in NEEDED if not rows or name not in rows[0]]
    if missing:
        parser.error(f"{given.rows}: no rows with the columns {', '.join(missing)}")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    part = given.output.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *ADDED], lineterminator="\n")
        writer.writeheader()
        writer.writerows(answered(rows))
    part.replace(given.output)


if __name__ == "__main__":
    main()
