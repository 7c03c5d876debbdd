"""Floating-point operations of a decode step and of a prefill. One multiply-add counts as two."""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import NDArray

from polyfleet.terms.footprint import read_entries
from polyfleet.terms.model import Attention, Model

Floats = NDArray[np.float64]

_STATE_FLOPS = 6  # per state value and token: decay and outer-product update (4), read-out (2)


def gemm_flops_per_token(model: Model, *, head: bool = True) -> float:
    """2 x the parameters a token is multiplied with: layers (active experts only) and, with `head`, the output
    projection, tied or not. The embedding lookup multiplies nothing."""
    body = sum(g.count * (g.attention.params + g.ffn.active_params + g.other_params) for g in model.groups)
    return 2.0 * (body + (model.vocab_size * model.hidden_size if head else 0))


@overload
def decode_flops_per_token(model: Model, context_tokens: float) -> float: ...
@overload
def decode_flops_per_token(model: Model, context_tokens: Floats) -> Floats: ...
def decode_flops_per_token(model: Model, context_tokens: float | Floats) -> float | Floats:
    """FLOPs to make one token when `context_tokens` are cached: GEMMs, attention over what is read, indexers, states.

    Latent attention is counted in its absorbed form (DeepSeek-V2, arXiv 2405.04434, 2.1.2): every head works on the
    latent itself. The result has the shape of `context_tokens`.
    """
    context = np.asarray(context_tokens, dtype=np.float64)
    total = np.full_like(context, gemm_flops_per_token(model))
    for group in model.groups:
        attention = group.attention
        read = read_entries(attention, context) * _pair_flops(attention, absorbed=True)
        scored = context * attention.compression * _score_flops(attention)
        total += group.count * (read + scored + _STATE_FLOPS * attention.state_values)
    return total if isinstance(context_tokens, np.ndarray) else float(total)


@overload
def prefill_flops(model: Model, input_tokens: float, cached_tokens: float = 0.0) -> float: ...
@overload
def prefill_flops(model: Model, input_tokens: Floats, cached_tokens: Floats | float = 0.0) -> Floats: ...
def prefill_flops(model: Model, input_tokens: float | Floats, cached_tokens: float | Floats = 0.0) -> float | Floats:
    """FLOPs to read a prompt of `input_tokens`, of which the first `cached_tokens` come from a prefix cache.

    GEMMs of the new tokens (logits of the last one only), and causal attention: token t attends to t tokens, or to
    as many as its window or sparse choice holds. The result has the shape of `input_tokens`.
    """
    tokens = np.asarray(input_tokens, dtype=np.float64)
    cached = np.minimum(np.asarray(cached_tokens, dtype=np.float64), tokens)
    new = tokens - cached
    head = 2.0 * model.vocab_size * model.hidden_size
    total = new * gemm_flops_per_token(model, head=False) + head * np.sign(new)
    for group in model.groups:
        attention = group.attention
        pairs = _pairs(attention, tokens) - _pairs(attention, cached)
        scored = (_causal(tokens, None) - _causal(cached, None)) * attention.compression * _score_flops(attention)
        state = _STATE_FLOPS * attention.state_values * new
        total = total + group.count * (pairs * _pair_flops(attention, absorbed=_is_sparse(attention)) + scored + state)
    return total if isinstance(input_tokens, np.ndarray) else float(total)


def _pairs(attention: Attention, tokens: Floats) -> Floats:
    """Query-key pairs of a prompt in one layer: the sum over its tokens of what each attends to."""
    spans = [s for s in (attention.read_span_tokens, attention.cached_span_tokens) if s is not None]
    span = min(spans) / attention.compression if spans else None
    pooled = _causal(tokens, span) * attention.compression
    return pooled + _causal(tokens, attention.local_span_tokens) if attention.local_span_tokens else pooled


def _causal(tokens: Floats, span: float | None) -> Floats:
    """Sum of min(t, span) for t = 1 .. tokens."""
    full = tokens if span is None else np.minimum(tokens, span)
    beyond = 0.0 if span is None else (tokens - full) * span
    return np.asarray(full * (full + 1) / 2 + beyond)


def _pair_flops(attention: Attention, *, absorbed: bool) -> float:
    if attention.kind not in ("gqa", "mla"):
        return 0.0
    if attention.kind == "mla" and absorbed:
        keys = attention.cached_values_per_token - attention.indexer_values_per_token
        return 2.0 * attention.heads * (keys + attention.latent_dim)
    return 2.0 * attention.heads * (attention.head_dim + attention.value_dim)


def _score_flops(attention: Attention) -> float:
    return 2.0 * attention.indexer_heads * attention.indexer_values_per_token


def _is_sparse(attention: Attention) -> bool:
    """Sparse latent attention gathers latents, so its prefill runs absorbed too."""
    return attention.read_span_tokens is not None
