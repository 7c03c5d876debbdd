"""Whether a build fits: heads over devices, weights and a least KV cache into memory."""

from __future__ import annotations

from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.footprint import kv_bytes, part_formats, weight_bytes
from polyfleet.terms.model import Model

# The least KV cache a replica must hold beside its weights: a build that holds less serves nothing useful.
LEAST_SEQUENCES = 4
LEAST_CONTEXT_TOKENS = 4096
_GIB = 2.0**30


def head_problem(model: Model, devices: int, rule: str) -> str:
    """What forbids splitting attention over `devices`; empty where nothing does.

    `divide` (vLLM, SGLang, TensorRT-LLM): heads divide over devices, KV heads divide or repeat evenly. `pad` (Neuron):
    heads are padded up to the next power of two at most, as its measured layouts show (40 heads on 64 devices).
    """
    for group in model.groups:
        attention = group.attention
        if attention.kind == "none":
            continue
        heads, kv_heads = attention.heads, attention.kv_heads
        if rule == "pad":
            if devices > 1 << (heads - 1).bit_length():
                return f"{heads} attention heads cannot be padded to {devices} devices"
            continue
        if heads % devices:
            return f"{heads} attention heads do not divide over {devices} devices"
        if attention.kind == "gqa" and kv_heads % devices and devices % kv_heads:
            return f"{kv_heads} KV heads neither divide over {devices} devices nor repeat evenly"
    return ""


def weight_gib_per_chip(model: Model, build: Build) -> float:
    """Weights on one chip: all of them over `tp`; under attention-DP experts over `ep` and the rest on every chip."""
    total = weight_bytes(model, build.precision)
    if build.dp == 1:
        return total / (build.tp * build.pp) / _GIB
    expert_bytes = part_formats(model, build.precision).experts.bytes_per_value
    experts = sum(g.count * g.ffn.experts * g.ffn.expert_params for g in model.groups) * expert_bytes
    return ((total - experts) / build.tp + experts / build.ep) / _GIB


def least_kv_gib_per_chip(model: Model, chip: Chip, build: Build) -> float:
    """The least KV cache on one chip. Grouped heads shard by min(devices, KV heads), a latent not at all."""
    context = min(LEAST_CONTEXT_TOKENS, model.max_context_tokens)
    whole = LEAST_SEQUENCES * float(kv_bytes(model, context, build.kv_precision)) / _GIB
    devices = build.tp * chip.cores
    if any(g.attention.kind == "mla" for g in model.groups):
        return whole * chip.cores
    kv_heads = min((g.attention.kv_heads for g in model.groups if g.attention.kind == "gqa"), default=devices)
    return whole * chip.cores / min(devices, kv_heads)


def memory_problem(model: Model, chip: Chip, build: Build, usable_gib: float) -> str:
    """What does not fit, in figures; empty where the build fits."""
    weights = weight_gib_per_chip(model, build)
    cache = least_kv_gib_per_chip(model, chip, build)
    if weights + cache <= usable_gib:
        return ""
    return (
        f"{weights:.1f} GiB of {build.precision} weights and {cache:.1f} GiB of KV cache "
        f"({LEAST_SEQUENCES} sequences of {LEAST_CONTEXT_TOKENS} tokens) per chip on {build.chips} chips; "
        f"{usable_gib:.1f} GiB are usable"
    )
