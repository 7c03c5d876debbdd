"""One forward pass: a decode step of a batch, and the prefill of prompt tokens. Seconds."""

from __future__ import annotations

import numpy as np

from polyfleet.speed.rates import Rates
from polyfleet.speed.shape import Floats, Shape, Value


def decode_step_s(shape: Shape, rates: Rates, batch: Value, context: Value, tokens: Value = 1.0) -> Floats:
    """Time of one step of `batch` sequences with `context` tokens before them, that computes `tokens` for each: one,
    or a draft and its check under speculative decoding."""
    on_stage = np.maximum(np.asarray(batch, dtype=np.float64) / shape.pp, 1.0)
    weights = _weights_s(shape, rates, on_stage * tokens, rates.compute_eff)
    attention = _decode_attention_s(shape, rates, on_stage / shape.dp, context)
    return weights + attention + exchange_s(shape, rates, on_stage * tokens) + _fixed_s(shape, rates, on_stage)


def prefill_s(shape: Shape, rates: Rates, tokens: Value, prompt: Value, cached: Value = 0.0) -> Floats:
    """Latency of prefilling `tokens` prompt tokens that belong to prompts of `prompt` tokens, `cached` of which are
    already in the cache; no less than its launches take."""
    work = prefill_work_s(shape, rates, tokens, prompt, cached)
    weights = touched_bytes(shape, rates, tokens) / (shape.bandwidth_bytes_s * rates.memory_eff)
    alone = soft_max(work, weights, rates.sharpness) + exchange_s(shape, rates, 0.0) + _fixed_s(shape, rates, 1.0)
    return np.asarray(np.maximum(alone, mixed_launch_s(shape, rates)))


def prefill_work_s(shape: Shape, rates: Rates, tokens: Value, prompt: Value, cached: Value = 0.0) -> Floats:
    """Compute and messages of a prefill: what it costs when it rides on steps that read the weights anyway."""
    imbalance = expert_imbalance(shape, rates, tokens)
    every = np.where(shape.experts_unshared, shape.experts / np.asarray(shape.experts_per_token), imbalance)
    gemm = tokens * (shape.dense_peak_s + shape.expert_peak_s * every / rates.expert_compute_eff) / rates.prefill_eff
    # A token attends to half of its own prompt on average, and to all that is cached before it.
    span = cached + (np.asarray(prompt, dtype=np.float64) - cached) / 2
    pairs = span * shape.pair_full_s + np.minimum(span, shape.capped_span) * shape.pair_capped_s
    attention = tokens / shape.dp * pairs / rates.attention_compute_eff
    return np.asarray(gemm + attention + _moved_s(shape, rates, tokens))


def mixed_launch_s(shape: Shape, rates: Rates) -> Floats:
    """The host's time to launch a step that holds prompt tokens, whose sizes no captured graph knows. Routing adds to a
    layer in the proportion that it does under graphs."""
    routed = shape.moe_layers * np.asarray(rates.moe_layer_s) / np.maximum(rates.layer_s, 1e-12)
    return np.asarray((shape.layers + routed) * rates.mixed_layer_s)


def soft_max(a: Value, b: Value, sharpness: Value) -> Floats:
    """(a^p + b^p)^(1/p): close to the larger, above it where they meet, since overlap is never perfect."""
    high = np.maximum(np.maximum(a, b), 1e-12)
    low = np.minimum(a, b)
    return np.asarray(high * (1.0 + (low / high) ** sharpness) ** (1.0 / sharpness))


def touched_bytes(shape: Shape, rates: Rates, tokens: Value) -> Floats:
    """Weight bytes that a pass over `tokens` tokens reads: of the experts, those that the tokens touch."""
    return np.asarray(shape.dense_bytes + shape.expert_bytes * share_touched(shape, rates, tokens))


def share_touched(shape: Shape, rates: Rates, tokens: Value) -> Floats:
    """Share of the experts that a pass over `tokens` tokens reads.

    An even router leaves (1 - k/E)^B of them out. Where popularity varies by gamma with the square of its coefficient
    of variation v, the tokens after the first leave out (1 - v (B - 1) ln(1 - k/E))^(-1/v): the zero class of a
    negative binomial. A token alone reads k experts, whatever v is.
    """
    even = np.minimum(shape.experts_per_token / np.asarray(shape.experts), 1.0 - 1e-12)
    others = -np.log1p(-even) * np.maximum(np.asarray(tokens, dtype=np.float64) - 1.0, 0.0)
    missed = (1.0 - even) * (1.0 + rates.expert_skew * others) ** (-1.0 / np.asarray(rates.expert_skew))
    return np.asarray(1.0 - missed)


def expert_imbalance(shape: Shape, rates: Rates, tokens: Value) -> Floats:
    """Load of the fullest expert-parallel rank over the mean one.

    The maximum of `ep` near-normal counts of mean m exceeds m by about sqrt(2 ln(ep) / m) of itself.
    """
    mean = np.maximum(np.asarray(tokens) * shape.experts_per_token / shape.ep, 1.0)
    return np.asarray(np.minimum(1.0 + rates.expert_imbalance * np.sqrt(2 * np.log(shape.ep) / mean), shape.ep))


def _weights_s(shape: Shape, rates: Rates, tokens: Value, compute_eff: Value) -> Floats:
    imbalance = expert_imbalance(shape, rates, tokens)
    apart = tokens * shape.experts_per_token / np.asarray(shape.experts)
    share = np.where(shape.experts_unshared, apart, np.minimum(share_touched(shape, rates, tokens) * imbalance, 1.0))
    experts = shape.expert_bytes * share / rates.expert_memory_eff
    memory = (shape.dense_bytes + experts) / (shape.bandwidth_bytes_s * rates.memory_eff)
    compute = tokens * (shape.dense_peak_s + shape.expert_peak_s * imbalance / rates.expert_compute_eff) / compute_eff
    return soft_max(memory, compute, rates.sharpness)


def _decode_attention_s(shape: Shape, rates: Rates, sequences: Value, context: Value) -> Floats:
    seen = np.minimum(context, shape.capped_span)
    read = context * shape.kv_full_bytes + seen * shape.kv_capped_bytes + shape.state_bytes
    compute = context * shape.decode_pair_full_s + seen * shape.decode_pair_capped_s
    memory = read / (shape.bandwidth_bytes_s * rates.attention_eff)
    return np.asarray(np.maximum(sequences, 1.0) * soft_max(memory, compute / rates.attention_compute_eff, 2.0))


def exchange_s(shape: Shape, rates: Rates, tokens: Value) -> Floats:
    """Two all-reduces a layer over the tensor-parallel (or attention-DP) group: latency and bandwidth.

    A ring moves 2(n-1)/n of the message over each chip's link; the latency grows with the steps of a tree.
    """
    latency = rates.link_latency_s * np.log2(np.asarray(shape.tp) * shape.dp)
    return np.asarray(2 * shape.layers * latency + _moved_s(shape, rates, tokens))


def _moved_s(shape: Shape, rates: Rates, tokens: Value) -> Floats:
    ranks = np.asarray(shape.tp) * shape.dp
    moved = 2 * (ranks - 1) / ranks * tokens * shape.message_bytes / (shape.link_bytes_s * rates.link_eff)
    return np.asarray(2 * shape.layers * moved)


def _fixed_s(shape: Shape, rates: Rates, sequences: Value) -> Floats:
    launches = shape.layers * rates.layer_s + shape.moe_layers * rates.moe_layer_s
    return np.asarray(rates.step_s * shape.pp + launches + sequences * rates.sequence_s)
