"""A point: one replica of a build at one load, ready to be predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from polyfleet.speed.shape import Shape, leaves_domain, shape_of
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Model
from polyfleet.terms.precision import Precision


class Regime(StrEnum):
    """What a measurement, or a question, holds fixed."""

    CONCURRENCY = "concurrency"  # a steady number of requests in flight
    RATE = "rate"  # requests arrive at a rate, whatever is in flight
    SATURATED = "saturated"  # more requests than fit wait all the time
    STATIC = "static"  # one batch starts and ends together
    BURST = "burst"  # requests start together; throughput is tokens over the time to the last answer
    PROMISE = "promise"  # the highest load that keeps a latency limit


@dataclass(frozen=True, slots=True)
class Load:
    """Load of one replica. `in_flight` requests (0 where the regime finds it itself), `rate_per_s` arrivals (0 =
    unknown), `slots` the most that the engine runs at once (inf = memory alone limits), `compiled_batch` the batch
    whose time every step takes (0 = the live one), `tpot_limit_ms` at P99 for a promise,
    `drafts` tokens that speculative decoding drafts ahead."""

    regime: Regime
    input_tokens: float
    output_tokens: float
    in_flight: float = 0.0
    rate_per_s: float = 0.0
    slots: float = float("inf")
    compiled_batch: float = 0.0
    cached_tokens: float = 0.0
    tpot_limit_ms: float = 0.0
    drafts: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One replica (`shape`, `keys`) under a `load`; `replicas` equal ones share what a row counts in total."""

    shape: Shape
    keys: Mapping[str, str]
    load: Load
    replicas: float = 1.0


_ENGINES = (
    ("optimum-neuron", "neuron"),
    ("transformers-neuronx", "neuron"),
    ("nxd", "neuron"),
    ("vllm-neuron", "neuron"),
    ("neuron", "neuron"),
    ("optimum-habana", "gaudi"),
    ("tgi-gaudi", "gaudi"),
    ("vllm-gaudi", "gaudi"),
    ("vllm-tpu", "vllm-tpu"),
    ("tpu-inference", "vllm-tpu"),
    ("sglang-jax", "sglang-jax"),
    ("jetstream", "jetstream"),
    ("tensorrt", "tensorrt-llm"),
    ("trt", "tensorrt-llm"),
    ("nim", "tensorrt-llm"),
    ("dynamo-trt", "tensorrt-llm"),
    ("sglang", "sglang"),
    ("dynamo-sglang", "sglang"),
    ("atom", "atom"),
    ("tgi", "tgi"),
    ("vllm (eager", "vllm-eager"),
    ("djl/vllm", "vllm"),
    ("vllm", "vllm"),
)


def engine_key(engine: str) -> str:
    """The engine's family, by the beginning of its name; the name itself where it is of none."""
    name = engine.strip().lower()
    return next((key for start, key in _ENGINES if name.startswith(start)), name or "unknown")


def keys_of(model: Model, chip: Chip, build: Build) -> dict[str, str]:
    """What the constants of this build may depend on."""
    return {
        "vendor": chip.vendor,
        "family": chip.family,
        "chip": chip.name,
        "engine": engine_key(build.engine),
        "format": format_key(build.precision, chip),
        "model": model.name,
        "link": "pcie" if leaves_domain(chip, build) else "fabric",
        "crowd": "mean",
        "era": "now",
        "precision": str(build.precision),
        "attention": "mla" if any(g.attention.kind == "mla" for g in model.groups) else "gqa",
    }


def format_key(precision: Precision, chip: Chip) -> str:
    """The format that weights are multiplied in; `-unpacked` where the chip has no units for it."""
    compute = precision.compute
    if precision is Precision.INT4:
        return "int4"
    return compute if compute in chip.tflops or compute == "bf16" else f"{compute}-unpacked"


def point_of(model: Model, chip: Chip, build: Build, load: Load, replicas: float = 1.0) -> Point:
    """The point of `build` under `load`."""
    return Point(shape_of(model, chip, build), keys_of(model, chip, build), load, replicas)
