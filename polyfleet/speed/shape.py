"""What one replica's chips must move and compute: model x chip x build, reduced to some thirty numbers.

Every number is per chip on the critical path and may be a scalar or an array over points, so that the same formulas
predict one build or fit thousands of measured rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.footprint import PartFormats, part_formats
from polyfleet.terms.model import Attention, Model
from polyfleet.terms.precision import Precision

Floats = NDArray[np.float64]
Value = float | Floats

_PCIE_GB_S = 32.0  # PCIe 4.0 x16, per direction
_GIB = 2.0**30
_ACTIVATION_BYTES = 2.0  # activations and messages between chips travel as bf16


@dataclass(frozen=True, slots=True)
class Shape:
    """Loads of one replica. Bytes, seconds at the datasheet's peak, counts; `_s` = seconds at peak.

    `dense_bytes`, `expert_bytes`: weights that a chip holds of the parts every token passes, and of all routed
    experts. `experts_unshared` is 1 where every token of a step loads its own experts even if another has the same, and
    a prefill multiplies all experts with all tokens (what the Neuron compiler makes of a mixture). `dense_peak_s`,
    `expert_peak_s`: compute of one token of the replica's batch. `kv_full_bytes`: cache that one sequence on this chip
    reads per context token; `kv_capped_bytes` the same for layers that read at most
    `capped_span` tokens; `state_bytes` what it reads whatever its length. `pair_full_s`, `pair_capped_s`: attention
    compute of one query token against one context token. `held_full_bytes`, `held_capped_bytes`, `held_span`: cache
    kept per token. `message_bytes`: hidden state of one token. `budget_bytes`: chip memory.
    """

    tp: Value
    dp: Value
    pp: Value
    ep: Value
    layers: Value
    moe_layers: Value
    dense_bytes: Value
    expert_bytes: Value
    experts: Value
    experts_per_token: Value
    experts_unshared: Value
    dense_peak_s: Value
    expert_peak_s: Value
    kv_full_bytes: Value
    kv_capped_bytes: Value
    capped_span: Value
    state_bytes: Value
    pair_full_s: Value
    pair_capped_s: Value
    decode_pair_full_s: Value
    decode_pair_capped_s: Value
    held_full_bytes: Value
    held_capped_bytes: Value
    held_span: Value
    held_state_bytes: Value
    message_bytes: Value
    weight_bytes: Value
    budget_bytes: Value
    bandwidth_bytes_s: Value
    link_bytes_s: Value


def stack(shapes: Sequence[Shape]) -> Shape:
    """One Shape whose fields are arrays (n,) over the given shapes."""
    return Shape(**{f.name: np.array([getattr(s, f.name) for s in shapes], dtype=np.float64) for f in fields(Shape)})


def column(shape: Shape) -> Shape:
    """The same loads with a trailing axis, to broadcast (n, 1) against a grid (n, m)."""
    return Shape(**{f.name: np.asarray(getattr(shape, f.name), dtype=np.float64)[..., None] for f in fields(Shape)})


def shape_of(model: Model, chip: Chip, build: Build) -> Shape:
    """Loads of `build`. All sharding is by whole chips; `build.model` and `build.chip` are not looked up."""
    formats = part_formats(model, build.precision)
    ranks = build.tp * build.dp
    parts = _Parts.of(model)
    held = _Held.of(parts, formats, build)
    cache = _Cache.of(model, build, chip)
    return Shape(
        tp=build.tp,
        dp=build.dp,
        pp=build.pp,
        ep=build.ep,
        layers=model.layers,
        moe_layers=sum(g.count for g in model.groups if g.ffn.experts),
        dense_bytes=held.dense,
        expert_bytes=held.experts,
        experts=parts.experts,
        experts_per_token=parts.experts_per_token,
        experts_unshared=float(chip.vendor == "aws"),
        dense_peak_s=_dense_peak_s(parts, formats, chip) / ranks,
        expert_peak_s=2 * parts.routed_active / _rate(chip, formats.experts) / ranks,
        kv_full_bytes=cache.full,
        kv_capped_bytes=cache.capped,
        capped_span=cache.span,
        state_bytes=cache.state,
        pair_full_s=cache.pair_full_s,
        pair_capped_s=cache.pair_capped_s,
        decode_pair_full_s=cache.decode_full_s,
        decode_pair_capped_s=cache.decode_capped_s,
        held_full_bytes=cache.held_full / build.pp,
        held_capped_bytes=cache.held_capped / build.pp,
        held_span=cache.held_span,
        held_state_bytes=cache.held_state / build.pp,
        message_bytes=model.hidden_size * _ACTIVATION_BYTES,
        weight_bytes=(held.dense + held.experts + held.embedding) / build.pp,
        budget_bytes=chip.memory_gib * _GIB,
        bandwidth_bytes_s=chip.bandwidth_gb_s * 1e9,
        link_bytes_s=link_gb_s(chip, build) * 1e9,
    )


def leaves_domain(chip: Chip, build: Build) -> bool:
    """Whether a replica's chips talk over PCIe: no fabric, or more chips than it joins (a bridge joins pairs)."""
    return chip.link_name.startswith("PCIe") or build.tp * build.dp > chip.domain_chips


def link_gb_s(chip: Chip, build: Build) -> float:
    """Rate of the slowest link a replica uses, per direction and chip."""
    return min(chip.link_gb_s, _PCIE_GB_S) if leaves_domain(chip, build) else chip.link_gb_s


def _dense_peak_s(parts: _Parts, formats: PartFormats, chip: Chip) -> float:
    """Compute of one token in what every token passes, on one chip at its peak; two FLOPs a parameter."""
    passed = ((parts.attention, formats.attention), (parts.dense, formats.dense), (parts.head, formats.head))
    return sum(2 * count / _rate(chip, precision) for count, precision in passed)


def _rate(chip: Chip, precision: Precision) -> float:
    return chip.rate_tflops(precision.compute) * 1e12


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parameters by the way they are read."""

    attention: float
    dense: float
    other: float
    routed: float
    routed_active: float
    experts: float
    experts_per_token: float
    head: float
    embedding: float

    @classmethod
    def of(cls, model: Model) -> _Parts:
        groups = model.groups
        moe = [g for g in groups if g.ffn.experts]
        routed = sum(g.count * g.ffn.experts * g.ffn.expert_params for g in moe)
        return cls(
            attention=sum(g.count * g.attention.params for g in groups),
            dense=sum(g.count * g.ffn.shared_params for g in groups),
            other=sum(g.count * g.other_params for g in groups),
            routed=routed,
            routed_active=sum(g.count * g.ffn.experts_per_token * g.ffn.expert_params for g in moe),
            experts=_weighted([(g.ffn.experts, g.count) for g in moe], 1.0),
            experts_per_token=_weighted([(g.ffn.experts_per_token, g.count) for g in moe], 1.0),
            head=model.head_params or model.embedding_params,
            embedding=model.embedding_params if model.head_params else 0.0,
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """Weight bytes on one chip of a pipeline stage's whole layers: those every token reads, experts, embedding."""

    dense: float
    experts: float
    embedding: float

    @classmethod
    def of(cls, parts: _Parts, formats: PartFormats, build: Build) -> _Held:
        ranks = build.tp * build.dp
        # Under attention-DP every rank holds all attention weights of its tensor-parallel group; the rest is spread.
        attention = parts.attention * formats.attention.bytes_per_value / build.tp
        body = (parts.dense * formats.dense.bytes_per_value + parts.other * formats.rest.bytes_per_value) / ranks
        head = parts.head * formats.head.bytes_per_value / build.tp
        experts = parts.routed * formats.experts.bytes_per_value / ranks
        return cls(attention + body + head, experts, parts.embedding * formats.rest.bytes_per_value / build.tp)


def _weighted(values: Sequence[tuple[float, float]], empty: float) -> float:
    total = sum(weight for _, weight in values)
    return sum(value * weight for value, weight in values) / total if total else empty


@dataclass(frozen=True, slots=True)
class _Cache:
    """KV cache and attention work of one sequence, on one chip of its tensor-parallel group."""

    full: float
    capped: float
    span: float
    state: float
    pair_full_s: float
    pair_capped_s: float
    decode_full_s: float
    decode_capped_s: float
    held_full: float
    held_capped: float
    held_span: float
    held_state: float

    @classmethod
    def of(cls, model: Model, build: Build, chip: Chip) -> _Cache:
        kv_bytes = build.kv_precision.bytes_per_value
        peak = chip.rate_tflops("bf16") * 1e12
        full = capped = state = pair_full = pair_capped = decode_full = decode_capped = held_full = held_capped = 0.0
        spans: list[tuple[float, float]] = []
        held_spans: list[tuple[float, float]] = []
        for group in model.groups:
            a = group.attention
            share = group.count / kv_shards(a, build.tp)
            per_token = a.cached_values_per_token * share * kv_bytes * a.compression
            always = a.indexer_values_per_token * share * kv_bytes * a.compression
            per_pair = group.count / build.tp / peak * a.compression
            pairs, decoded = prefill_pair_flops(a) * per_pair, decode_pair_flops(a) * per_pair
            state += a.state_bytes * share
            read_span = _least(a.read_span_tokens, a.cached_span_tokens)
            if read_span is None:
                full, pair_full, decode_full = full + per_token, pair_full + pairs, decode_full + decoded
            else:
                full, capped = full + always, capped + per_token - always
                pair_capped, decode_capped = pair_capped + pairs, decode_capped + decoded
                spans.append((read_span, group.count))
            if a.local_span_tokens:
                # Beside the pooled or chosen tokens, the last few are kept and read as they are.
                local = (a.cached_values_per_token - a.indexer_values_per_token) * share * kv_bytes
                capped, held_capped = capped + local, held_capped + local
                spans.append((a.local_span_tokens, group.count))
                held_spans.append((a.local_span_tokens, group.count))
            if a.cached_span_tokens is None:
                held_full += per_token
            else:
                held_capped += per_token
                held_spans.append((a.cached_span_tokens, group.count))
        # A state is read and written back by every step.
        return cls(
            full, capped, _weighted(spans, 1.0), 2 * state, pair_full, pair_capped, decode_full, decode_capped,
            held_full, held_capped, _weighted(held_spans, 1.0), state,
        )  # fmt: skip


def kv_shards(attention: Attention, tp: int) -> float:
    """Over how many chips of a tensor-parallel group one sequence's cache is split.

    Grouped-query heads split down to one head a chip; the MLA latent is shared by all heads, so every chip keeps it
    whole (DeepSeek-V2 paper, section 2.1); a linear layer's state splits by head.
    """
    if attention.kind == "mla":
        return 1.0
    if attention.kind == "linear":
        return float(min(tp, max(attention.heads, 1)))
    return float(min(tp, max(attention.kv_heads, 1)))


def prefill_pair_flops(attention: Attention) -> float:
    """FLOPs of one layer for one query token against one context token: scores and values, a multiply and an add."""
    if attention.kind in ("linear", "none"):
        return 0.0
    return 2.0 * attention.heads * (attention.head_dim + attention.value_dim)


def decode_pair_flops(attention: Attention) -> float:
    """The same in decode, where MLA multiplies the latent itself by every head (weight absorption, DeepSeek-V2)."""
    if attention.kind != "mla":
        return prefill_pair_flops(attention)
    return 4.0 * attention.heads * (attention.cached_values_per_token - attention.indexer_values_per_token)


def _least(*spans: int | None) -> int | None:
    known = [s for s in spans if s is not None]
    return min(known) if known else None
