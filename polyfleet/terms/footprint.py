"""Bytes: what a model's weights take at a precision, and what a sequence keeps and reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from polyfleet.terms.model import Attention, Model
from polyfleet.terms.precision import Precision

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PartFormats:
    """The format of each part while served: attention (and other mixers), dense MLPs and shared experts, routed
    experts, output head, and the rest (embeddings, norms)."""

    attention: Precision
    dense: Precision
    experts: Precision
    head: Precision
    rest: Precision


def part_formats(model: Model, precision: Precision) -> PartFormats:
    """The format of each part when the model is served at `precision`.

    At the checkpoint's own precision its flags hold. Above it, the quantised parts are unpacked to `precision`. Below
    it, the engine quantises all linear layers but the head; FP4 leaves the attention of MoE models alone, as the
    published FP4 recipes do. A part already smaller than asked stays as it is. Embeddings and norms stay in bf16.
    """
    checkpoint = model.checkpoint
    flags = (checkpoint.attention_quantised, checkpoint.dense_quantised, checkpoint.experts_quantised)
    stored = [checkpoint.precision if flag else checkpoint.rest_precision for flag in flags]
    head = checkpoint.precision if checkpoint.head_quantised else Precision.BF16
    if precision in (Precision.BF16, Precision.FP32):
        return PartFormats(precision, precision, precision, precision, precision)
    if precision != checkpoint.precision:
        own = checkpoint.precision.bytes_per_value
        if precision.bytes_per_value > own:
            stored = [precision if flag else part for flag, part in zip(flags, stored, strict=True)]
            head = Precision.BF16
        else:
            keeps_attention = model.is_moe and precision.compute == "fp4"
            stored = [
                stored[0] if keeps_attention else _smaller(precision, stored[0]),
                _smaller(precision, stored[1]),
                _smaller(precision, stored[2]),
            ]
    return PartFormats(stored[0], stored[1], stored[2], head, Precision.BF16)


def _smaller(asked: Precision, stored: Precision) -> Precision:
    return asked if asked.bytes_per_value <= stored.bytes_per_value else stored


def bytes_per_value(model: Model, stored: Precision) -> float:
    """Bytes of one weight of this model in a format: the checkpoint's own block size where it states one."""
    checkpoint = model.checkpoint
    own = checkpoint.bytes_per_value if stored is checkpoint.precision else 0.0
    return own or stored.bytes_per_value


def weight_bytes(model: Model, precision: Precision) -> float:
    """Bytes of all weights when served at `precision`, block scales included (those of FP8, under 0.1 %, are not)."""
    formats = part_formats(model, precision)
    attention, dense, experts, head, rest = (
        bytes_per_value(model, part)
        for part in (formats.attention, formats.dense, formats.experts, formats.head, formats.rest)
    )
    total = model.embedding_params * rest + model.head_params * head
    for group in model.groups:
        ffn = group.ffn
        layer = group.attention.params * attention + ffn.shared_params * dense + group.other_params * rest
        total += group.count * (layer + ffn.experts * ffn.expert_params * experts)
    return total


def kv_bytes_per_token(model: Model, kv_precision: Precision) -> float:
    """Cache bytes that one token takes over all layers while it lies inside every window. State is not counted."""
    values = sum(g.count * g.attention.cached_values_per_token * g.attention.compression for g in model.groups)
    local = sum(g.count * _main_values(g.attention) for g in model.groups if g.attention.local_span_tokens)
    return (values + local) * kv_precision.bytes_per_value


@overload
def kv_bytes(model: Model, context_tokens: float, kv_precision: Precision) -> float: ...
@overload
def kv_bytes(model: Model, context_tokens: Floats, kv_precision: Precision) -> Floats: ...
def kv_bytes(model: Model, context_tokens: float | Floats, kv_precision: Precision) -> float | Floats:
    """Bytes one sequence of `context_tokens` keeps: cache (windows and pooling applied) and fixed state.

    `context_tokens` is a number or an array; the result has its shape. Paging is not included.
    """
    context = np.asarray(context_tokens, dtype=np.float64)
    total = np.zeros_like(context)
    for group in model.groups:
        attention = group.attention
        cached = _cached_entries(attention, context) * attention.cached_values_per_token
        local = np.minimum(context, attention.local_span_tokens) * _main_values(attention)
        total += group.count * ((cached + local) * kv_precision.bytes_per_value + attention.state_bytes)
    return _like(context_tokens, total)


@overload
def decode_kv_bytes(model: Model, context_tokens: float, kv_precision: Precision) -> float: ...
@overload
def decode_kv_bytes(model: Model, context_tokens: Floats, kv_precision: Precision) -> Floats: ...
def decode_kv_bytes(model: Model, context_tokens: float | Floats, kv_precision: Precision) -> float | Floats:
    """Bytes of cache and state that one decode step of one sequence moves, over all layers and the whole model.

    Sparse attention reads only what it chose, plus the indexer's keys of every cached token. The fixed state counts
    twice: it is read and written back. Shape as in `kv_bytes`.
    """
    context = np.asarray(context_tokens, dtype=np.float64)
    total = np.zeros_like(context)
    for group in model.groups:
        attention = group.attention
        read = read_entries(attention, context) * _main_values(attention)
        keys = _cached_entries(attention, context) * attention.indexer_values_per_token
        total += group.count * ((read + keys) * kv_precision.bytes_per_value + 2 * attention.state_bytes)
    return _like(context_tokens, total)


def read_entries(attention: Attention, context_tokens: Floats) -> Floats:
    """Cached entries that a decode step attends to at each context: window, sparse choice and pooling applied."""
    entries = _cached_entries(attention, context_tokens)
    if attention.read_span_tokens is not None:
        entries = np.minimum(entries, attention.read_span_tokens)
    return np.asarray(entries + np.minimum(context_tokens, attention.local_span_tokens))


def _cached_entries(attention: Attention, context_tokens: Floats) -> Floats:
    entries = context_tokens * attention.compression
    return entries if attention.cached_span_tokens is None else np.minimum(entries, attention.cached_span_tokens)


def _main_values(attention: Attention) -> int:
    return attention.cached_values_per_token - attention.indexer_values_per_token


def _like(given: float | Floats, result: Floats) -> float | Floats:
    return result if isinstance(given, np.ndarray) else float(result)
