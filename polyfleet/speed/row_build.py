"""How a row's model lay on its chips: parallelism in whole chips, replicas, number formats."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from polyfleet.errors import RowsError
from polyfleet.speed.memory import USABLE
from polyfleet.speed.point import engine_key
from polyfleet.speed.rows import Row
from polyfleet.speed.shape import shape_of
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Model
from polyfleet.terms.precision import Precision

_COMFORTABLE = 0.6  # share of memory that weights take at most in a replica whose size a row leaves open (assumed)


def build_of_row(row: Row, model: Model, chip: Chip) -> tuple[Build, float]:
    """The build of one replica, and how many equal ones the row counts together."""
    chips = max(int(row.number("n_chips") or row.number("tp") or 1), 1)
    precision = precision_of(row.text("weight_dtype"), model, chip)
    engine = row.text("engine")
    base = Build(model.name, chip.name, 1, engine, precision, kv_precision_of(row, precision))
    tp = _chips_of(row.number("tp"), chip)
    pp = max(int(row.number("pp") or 1), 1)
    if tp is None:
        tp = _smallest_tp(base, model, chip, chips)
    tp = min(tp, chips)
    ep = _chips_of(row.number("ep"), chip) or 1
    dp = _attention_dp(row, model, tp, pp, chips)
    if dp > 1:
        ranks = chips if dp > tp or row.text("dp").startswith("attn") else tp * pp
        attention_tp = max(ranks // (dp * pp), 1)
        build = replace(base, tp=attention_tp, dp=dp, pp=pp, ep=min(max(ep, dp), chips))
        return build, max(chips // build.chips, 1)
    return replace(base, tp=tp, pp=pp, ep=min(ep, tp)), max(chips // (tp * pp), 1)


def _chips_of(devices: float | None, chip: Chip) -> int | None:
    return None if devices is None else max(math.ceil(devices / chip.cores), 1)


def _attention_dp(row: Row, model: Model, tp: int, pp: int, chips: int) -> int:
    """Ranks of attention-DP inside one replica; 1 where the row's `dp` counts replicas of their own."""
    if not model.is_moe:
        return 1
    dp = row.number("dp")
    if _splits_latent_attention(row, model):
        return max(tp, 1)
    if row.text("dp").startswith("attn"):
        stated = re.search(r"attention dp (\d+)", row.text("notes"))
        return min(int(stated.group(1)), chips) if stated else max(chips // pp, 1)
    if dp is None or dp <= 1:
        return 1
    spread = (row.number("ep") or 1) > 1
    if tp * pp * dp > chips:  # tp and dp count the same chips: `--tp 8 --enable-dp-attention --dp 8`
        return min(int(dp), chips)
    return int(dp) if spread and tp == 1 else 1


def _splits_latent_attention(row: Row, model: Model) -> bool:
    """TensorRT-LLM's recipes split latent attention by sequence at full load, wherever the experts are spread."""
    latent = any(g.attention.kind == "mla" for g in model.groups)
    full = row.text("scenario") in ("offline_max_throughput", "mlperf_offline", "mlperf_server")
    spread = (row.number("ep") or 1) > 1 and row.number("ep") == row.number("tp")
    return latent and full and spread and engine_key(row.text("engine")) == "tensorrt-llm"


def _smallest_tp(base: Build, model: Model, chip: Chip, chips: int) -> int:
    """Small replicas where the row does not say: the least power of two that holds the weights comfortably."""
    most = min(chips, chip.domain_chips) if chip.domain_chips > 1 else chips
    tp = 1
    while tp < most:
        shape = shape_of(model, chip, replace(base, tp=tp))
        if float(shape.weight_bytes) <= _COMFORTABLE * USABLE * float(shape.budget_bytes):
            break
        tp *= 2
    return min(tp, most)


def precision_of(dtype: str, model: Model, chip: Chip) -> Precision:
    """The weights' format; where a row does not say, the checkpoint's. Four bits are NVFP4 on NVIDIA's chips and MXFP4
    elsewhere, and the checkpoint's own kind where it is stored in four bits."""
    name = dtype.lower().split(" ")[0]
    if not name or name == "auto":
        return model.checkpoint.precision
    if name in ("fp16", "bf16", "float16", "bfloat16", "fp32"):
        return Precision.BF16
    if name in ("fp4", "nvfp4", "mxfp4") and model.checkpoint.precision in (Precision.MXFP4, Precision.NVFP4):
        return model.checkpoint.precision
    if name == "fp4":
        return Precision.NVFP4 if chip.vendor == "nvidia" else Precision.MXFP4
    if name in set(Precision):
        return Precision(name)
    raise RowsError("unknown weight_dtype", value=dtype, hint="bf16, fp8, mxfp8, int8, fp4, nvfp4, mxfp4 or int4")


def kv_precision_of(row: Row, weights: Precision) -> Precision:
    """The cache's format; where a row does not say, fp8 beside quantised weights under TensorRT-LLM and in MLPerf
    (their checkpoints carry KV scales), bf16 elsewhere (vLLM's and SGLang's default)."""
    name = row.text("kv_dtype").lower()
    if "fp8" in name:
        return Precision.FP8
    if "int8" in name:
        return Precision.INT8
    if name:
        return Precision.BF16
    narrow = weights.bytes_per_value < 2 and weights is not Precision.INT4
    carries = engine_key(row.text("engine")) == "tensorrt-llm" or row.text("scenario").startswith("mlperf")
    return Precision.FP8 if narrow and carries else Precision.BF16
