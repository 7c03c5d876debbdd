"""A measured row in aiconfigurator's words: what `bench_aiconfigurator.py` asks it.

Each choice is the peer's own default, or the one in its favour:

* Rows: quality A or B, a chip with tables of measured kernels, one of its three engines, a model whose config it has.
* Version: its slot (`current`, `next`) nearest to the measured one. Its slots are newer than nearly all rows
  (TensorRT-LLM 1.3.0rc20 for 0.14 or 1.0); older kernel tables are incomplete and closed by default.
* Mode: `agg` (in-flight batching) for rows that state a concurrency; `static` and `static_ctx` for static batches and
  for prefill alone; offline rows without a batch ask for the best throughput. Rows that state a request rate alone are
  not asked.
* Concurrency is split evenly over replicas and attention-DP ranks. dp counts ranks where ep is over 1 at tp 1; a recipe
  that sets `enable_attention_dp` has as many ranks as its tp says.
* Weights: a quantised checkpoint that it knows speaks for itself; else as measured (SGLang's fp8 block-wise, as the
  peer labels such rows). KV type: as measured; where blank, fp8 for TensorRT-LLM's quantised checkpoints, else left to
  it. MXFP4 experts on Blackwell run with MXFP8 activations under TensorRT-LLM, as that engine does.
* Experts: the row's `ep`; where unstated, expert-parallel if the notes say that the recipe sets it, else
  tensor-parallel.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import functools
import math
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

NAMES: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("aiconfigurator_names.toml").read_text())
OFFLINE = ("offline_max_throughput", "mlperf_offline")
SPECULATIVE = re.compile(
    r"(?<!no )(?<!no DPA/)(?<!without )\b(mtp|eagle\d?|speculative)\b(?!.decoding state)", re.IGNORECASE
)


class NotCoveredError(Exception):
    """The peer cannot be asked, or does not answer, for the stated reason."""


@dataclass(frozen=True)
class Question:
    """One configuration in the peer's words; `batch` is per replica and attention-DP rank, None asks for the best."""

    mode: str
    model: str
    system: str
    backend: str
    version: str
    input_len: int
    output_len: int
    batch: int | None
    tp: int
    pp: int
    attention_dp: int
    moe_ep: int | None
    weights: str | None
    expert_weights: str | None
    kv: str | None


def known(table: dict[str, str], key: str, what: str) -> str:
    if key not in table:
        raise NotCoveredError(f"{what} {key or '(unstated)'} is not in the peer's database")
    return table[key]


def whole(row: dict[str, str], column: str, default: int | None = None) -> int:
    text = row.get(column, "").strip()
    if not text and default is not None:
        return default
    try:
        value = round(float(text))
    except ValueError as error:
        raise NotCoveredError(f"{column} unstated") from error
    if value < 0:
        raise NotCoveredError(f"{column} negative")
    return value


@functools.cache
def config_folder() -> tempfile.TemporaryDirectory[str]:
    """Kept until the process ends: the peer reads a folder's config each time that it is asked."""
    return tempfile.TemporaryDirectory(prefix="peer-configs-")


@functools.cache
def models() -> dict[str, str]:
    """The peer's models by name, each as what it wants to be given: the name, or a folder holding the config."""
    import aiconfigurator_core
    from aiconfigurator_core.sdk.common import DefaultHFModels

    found = {name: name for name in DefaultHFModels}
    for config in (Path(aiconfigurator_core.__file__).parent / "model_configs").glob("*_config.json"):
        name = config.name.removesuffix("_config.json").replace("--", "/")
        if name not in found and not name.endswith("_hf_quant"):
            own = Path(config_folder().name) / config.stem
            own.mkdir()
            (own / "config.json").write_bytes(config.read_bytes())
            found[name] = str(own)
    return found


def numbers(version: str) -> tuple[int, ...]:
    return (*(int(part) for part in re.findall(r"\d+", version)), 0, 0, 0, 0)[:4]


@functools.cache
def nearest_version(system: str, backend: str, measured: str) -> str:
    from aiconfigurator.sdk.perf_database import get_version_slots

    slots = get_version_slots(system, backend)
    if not slots:
        raise NotCoveredError(f"the peer has no {backend} tables for {system}")
    if not re.match(r"v?\d+\.\d+", measured):
        return str(slots["current"])
    gap = {
        str(v): [abs(a - b) for a, b in zip(numbers(str(v)), numbers(measured), strict=True)] for v in slots.values()
    }
    return min(gap, key=lambda version: gap[version])


def weight_type(row: dict[str, str]) -> str:
    return row["weight_dtype"].split(" ")[0].lower()


def checkpoint(row: dict[str, str], backend: str) -> tuple[str, str | None]:
    """The model to name and the weight type to force on it (None: the checkpoint's own)."""
    model, dtype = NAMES["models"].get(row["model"], row["model"]), weight_type(row)
    own = NAMES["checkpoints"].get(f"{model} {dtype}")
    if own:
        return known(models(), own, "model"), None
    weights = known(NAMES["weights"], dtype, "weight type")
    return known(models(), model, "model"), "fp8_block" if (backend, weights) == ("sglang", "fp8") else weights


def kv_type(row: dict[str, str], backend: str, weights: str | None) -> str | None:
    if row["kv_dtype"]:
        return known(NAMES["kv"], row["kv_dtype"].lower(), "KV type")
    return "fp8" if backend == "trtllm" and weights not in (None, "bfloat16") else None


def expert_parallel(row: dict[str, str], model: str, chips: int) -> int | None:
    from aiconfigurator_core.sdk.models import check_is_moe

    if not check_is_moe(model):
        return None
    return max(1, whole(row, "ep", chips if "--ep" in row.get("notes", "") else 1))


def layout(row: dict[str, str]) -> tuple[int, int, int, int]:
    """(tp, pp, attention-DP ranks, replicas)."""
    chips, tp, pp, dp = whole(row, "n_chips"), whole(row, "tp"), whole(row, "pp", 1), whole(row, "dp", 1)
    if min(chips, tp, pp) < 1:
        raise NotCoveredError("tp, pp or n_chips is 0")
    ranks = dp if tp == 1 and whole(row, "ep", 1) > 1 else 1
    if "enable_attention_dp" in row.get("notes", ""):
        tp, ranks = 1, max(tp, ranks)
    if chips % (tp * pp * ranks):
        raise NotCoveredError(f"{chips} chips do not hold whole replicas of tp {tp} × pp {pp} × dp {ranks}")
    return tp, pp, ranks, chips // (tp * pp * ranks)


def batch_of(row: dict[str, str], lanes: int) -> int | None:
    if row.get("batch_or_concurrency", "").strip():
        return max(1, math.ceil(whole(row, "batch_or_concurrency") / lanes))
    if row["scenario"] in OFFLINE:
        return None
    raise NotCoveredError("concurrency unstated")


def question(row: dict[str, str]) -> tuple[Question, int]:
    """The row in the peer's words, and how many replicas it stands for."""
    if row["quality"] not in ("A", "B"):
        raise NotCoveredError("quality C")
    if SPECULATIVE.search(row.get("notes", "")):
        raise NotCoveredError("speculative decoding")
    system = known(NAMES["systems"], row["hardware"], "chip")
    backend = known(NAMES["backends"], row["engine"], "engine")
    model, weights = checkpoint(row, backend)
    tp, pp, ranks, replicas = layout(row)
    asked = Question(
        mode=NAMES["modes"].get(row["scenario"], "agg"),
        model=model,
        system=system,
        backend=backend,
        version=nearest_version(system, backend, row["engine_version"]),
        input_len=whole(row, "input_len"),
        output_len=whole(row, "output_len"),
        batch=batch_of(row, replicas * ranks * pp),
        tp=tp,
        pp=pp,
        attention_dp=ranks,
        moe_ep=expert_parallel(row, model, tp * ranks),
        weights=weights,
        expert_weights=NAMES["experts"].get(f"{backend} {system} {weight_type(row)}", weights),
        kv=kv_type(row, backend, weights),
    )
    return asked, replicas
