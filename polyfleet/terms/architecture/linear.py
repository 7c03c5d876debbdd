"""Layers with a state of fixed size, not a growing cache: gated delta net, Kimi delta attention, Mamba-2, lightning."""

from __future__ import annotations

from polyfleet.terms.model import Attention


def linear_attention(
    heads: int, key_dim: int, value_dim: int, params: int, *, conv_values: int = 0, state_value_bytes: int = 4
) -> Attention:
    """A layer that keeps heads x key x value numbers (fp32 unless said) and its convolution's last inputs (bf16)."""
    state = heads * key_dim * value_dim
    return Attention(
        kind="linear",
        heads=heads,
        kv_heads=heads,
        head_dim=key_dim,
        value_dim=value_dim,
        params=params,
        state_values=state + conv_values,
        state_bytes=state * state_value_bytes + conv_values * 2,
    )


def gated_delta_net(
    hidden: int, *, key_heads: int, value_heads: int, key_dim: int, value_dim: int, kernel: int, state_bytes: int
) -> Attention:
    """Gated delta net (arXiv 2412.06464) as in Qwen3-Next and Qwen3.5."""
    keys, values = key_heads * key_dim, value_heads * value_dim
    channels = 2 * keys + values
    params = hidden * (2 * keys + 2 * values + 2 * value_heads) + channels * kernel
    params += 2 * value_heads + value_dim + values * hidden
    conv = channels * (kernel - 1)
    return linear_attention(value_heads, key_dim, value_dim, params, conv_values=conv, state_value_bytes=state_bytes)


def kimi_delta_attention(hidden: int, *, heads: int, head_dim: int, kernel: int, full_rank_gate: bool) -> Attention:
    """Kimi delta attention (arXiv 2510.26692): a decay per channel; the output gate has low or full rank."""
    width = heads * head_dim
    low_rank = hidden * head_dim + head_dim * width
    gate = hidden * width if full_rank_gate else low_rank
    params = 4 * hidden * width + low_rank + gate + hidden * heads
    params += 3 * width * kernel + width + heads + head_dim
    return linear_attention(heads, head_dim, head_dim, params, conv_values=3 * width * (kernel - 1))


def mamba2(
    hidden: int,
    *,
    heads: int,
    head_dim: int,
    groups: int,
    state_dim: int,
    kernel: int,
    conv_bias: bool,
    state_bytes: int,
) -> Attention:
    """Mamba-2 (arXiv 2405.21060)."""
    inner = heads * head_dim
    channels = inner + 2 * groups * state_dim
    params = hidden * (inner + channels + heads) + channels * kernel + (channels if conv_bias else 0)
    params += 3 * heads + inner + inner * hidden
    conv = channels * (kernel - 1)
    return linear_attention(heads, state_dim, head_dim, params, conv_values=conv, state_value_bytes=state_bytes)


def lightning_attention(hidden: int, *, heads: int, head_dim: int, head_norms: bool) -> Attention:
    """Lightning attention with a full-rank output gate and a norm over its output (Ling 2.5)."""
    width = heads * head_dim
    params = 5 * hidden * width + width + (2 * head_dim if head_norms else 0)
    return linear_attention(heads, head_dim, head_dim, params)
