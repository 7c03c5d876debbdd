"""What load a row was measured under: its scenario, its lengths, and what its notes say."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from polyfleet.speed.point import Load, Regime, engine_key
from polyfleet.speed.rows import Row

# TPOT limits of MLPerf Inference v5.1 in ms, server and interactive: mlcommons inference rules.
_MLPERF_TPOT_MS = (
    ("llama-2-70b", 200.0, 40.0),
    ("mixtral-8x7b", 200.0, 40.0),
    ("llama-3.1-405b", 175.0, 80.0),
    ("llama-3.1-8b", 100.0, 30.0),
    ("deepseek-r1", 80.0, 15.0),
    ("", 100.0, 40.0),
)
# Mean lengths of the MLPerf data sets where a row leaves them blank; OpenOrca's from the v4.0 data set card, the mixed
# set of Mixtral and that of gpt-oss are assumed.
_MLPERF_LENGTHS = (
    ("llama-2-70b", 294.0, 294.0),
    ("mixtral-8x7b", 300.0, 145.0),
    ("deepseek-r1", 800.0, 3700.0),
    ("llama-3.1-405b", 9400.0, 655.0),
    ("llama-3.1-8b", 778.0, 128.0),
    ("", 1000.0, 1300.0),
)
_ASSUMED_TOKENS = 256.0  # a blank length outside MLPerf: short chat prompts and answers (assumed)
_USUAL_DRAFTS = 3.0  # drafted tokens where a row with speculative decoding does not say (assumed)
_FEW_ROUNDS = 5.0  # prompts per request in flight, below which a run of equal requests never falls out of step
_EQUAL_LENGTHS = ("exact", "nominal", "")
_SPECULATIVE = re.compile(r"\bMTP\b|eagle|speculative", re.IGNORECASE)
_PLAIN = re.compile(r"no DPA/MTP|no specul|without MTP|MTP off|state not checked", re.IGNORECASE)


def load_of_row(row: Row) -> Load:
    """What the row's scenario holds fixed, in totals over all replicas."""
    scenario, notes = row.text("scenario"), row.text("notes")
    input_tokens, output_tokens = _lengths(row, scenario)
    plain = Load(
        _regime(row, scenario, output_tokens),
        input_tokens,
        output_tokens,
        in_flight=row.number("batch_or_concurrency") or 0.0,
        slots=_stated(r"max-num-seqs (\d+)", notes, math.inf),
        compiled_batch=_stated(r"compiled batch (\d+)", notes, 0.0),
        drafts=_stated(r"(\d+) (?:speculative|draft) token", notes, _USUAL_DRAFTS) if is_speculative(row) else 0.0,
    )
    if plain.regime is Regime.STATIC:
        alone = scenario == "prefill_latency" or output_tokens <= 1
        return replace(plain, in_flight=max(plain.in_flight, 1.0), output_tokens=1.0 if alone else output_tokens)
    if plain.regime is Regime.PROMISE:
        limits = next((s, i) for name, s, i in _MLPERF_TPOT_MS if name in row.text("model").lower())
        return replace(plain, tpot_limit_ms=limits[scenario == "mlperf_interactive"])
    if plain.regime is Regime.RATE:
        rate = _stated(r"(?:request rate |^|; )([\d.]+) req/s", notes, 0.0)
        return replace(plain, rate_per_s=rate, in_flight=0.0)
    return plain


def _regime(row: Row, scenario: str, output_tokens: float) -> Regime:
    if scenario in ("offline_static_batch", "prefill_latency") or output_tokens <= 1:
        return Regime.STATIC
    if scenario in ("offline_max_throughput", "mlperf_offline"):
        return Regime.SATURATED
    if scenario.startswith("mlperf_"):
        return Regime.PROMISE
    if scenario in ("serving_request_rate", "serving_rate") or not row.number("batch_or_concurrency"):
        return Regime.RATE
    return Regime.BURST if re.search(r"bursts? of|\(burst\)", row.text("notes")) else Regime.CONCURRENCY


def _lengths(row: Row, scenario: str) -> tuple[float, float]:
    stated = row.number("input_len"), row.number("output_len")
    assumed = (_ASSUMED_TOKENS, _ASSUMED_TOKENS)
    if scenario.startswith("mlperf"):
        name = row.text("model").lower()
        assumed = next((i, o) for part, i, o in _MLPERF_LENGTHS if part in name)
    share = _mean_of_nominal(row)
    return (stated[0] or assumed[0]) * share, (stated[1] or assumed[1]) * share


def _mean_of_nominal(row: Row) -> float:
    """Mean length over the nominal one, where a row says that lengths are drawn evenly from a share of it upwards."""
    drawn = row.text("len_quality")
    least = _stated(r"^nominal.*random-range-ratio (0?\.\d+)", drawn, 1.0)
    return (least + 1.0) / 2


def _stated(pattern: str, notes: str, otherwise: float) -> float:
    found = re.search(pattern, notes)
    return float(found.group(1)) if found else otherwise


def is_speculative(row: Row) -> bool:
    """Whether the row was measured with speculative decoding, as its notes say."""
    notes = row.text("notes")
    return bool(_SPECULATIVE.search(notes)) and not _PLAIN.search(notes)


def crowd_key(row: Row) -> str:
    """How the row's TTFT counts the requests that began together. Requests of equal length stay in step, so that all
    of them meet the burst: under SGLang, which runs prefills first, and in any run of a few rounds. Elsewhere a
    median hardly sees the first burst, and a mean holds its share of it."""
    equal = row.text("len_quality") in _EQUAL_LENGTHS
    prompts = _stated(r"(\d+) prompts", row.text("notes"), math.inf)
    few_rounds = prompts <= _FEW_ROUNDS * (row.number("batch_or_concurrency") or 0.0)
    if equal and (engine_key(row.text("engine")) in ("sglang", "sglang-jax") or few_rounds):
        return "in-step"
    return "median" if row.number("ttft_ms_p50") is not None else "mean"
