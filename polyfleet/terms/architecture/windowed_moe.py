"""Routed experts with attention that differs by layer: MiniMax M2 and M3, MiMo V2, Step 3.x."""

from __future__ import annotations

from dataclasses import replace

from polyfleet.terms.architecture.moe import draft_notes, shared_expert_ffn
from polyfleet.terms.architecture.parts import (
    Body,
    Heads,
    Layer,
    check_kv_heads,
    dense,
    gqa,
    mlp_params,
    read_experts,
    read_heads,
    sparse,
)
from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Attention


def read_minimax_m2(config: Config) -> Body:
    """MiniMax M2: full attention with norms over all query and key heads, every layer routed."""
    hidden = config.count("hidden_size")
    shape = read_heads(config, hidden)
    norms = _head_norms(config, shape)
    attention = gqa(hidden, shape, extra_params=norms)
    width, bias = config.count("intermediate_size"), config.flag("use_routing_bias", True)
    ffn = sparse(hidden, read_experts(config, "num_local_experts"), width, router_bias=bias)
    layers: tuple[Layer, ...] = ((attention, ffn, 2 * hidden),) * config.layers()
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))


def read_minimax_m3(config: Config) -> Body:
    """MiniMax M3: on sparse layers an indexer picks blocks of the cache; one shared expert; leading dense layers."""
    hidden, count = config.count("hidden_size"), config.layers()
    shape = read_heads(config, hidden)
    full = gqa(hidden, shape, extra_params=_head_norms(config, shape))
    sparse_config = config.section("sparse_attention_config")
    chosen = _block_sparse(sparse_config, hidden, full)
    picks = _per_layer(sparse_config, "sparse_attention_freq", count)
    routed_layers = _per_layer(config, "moe_layer_freq", count)
    width, shared = config.count("intermediate_size"), config.count("shared_intermediate_size", default=0, least=0)
    bias = config.flag("use_routing_bias", True)
    experts = read_experts(config, "num_local_experts")
    routed = sparse(hidden, experts, width, shared_params=mlp_params(hidden, shared), router_bias=bias)
    plain = dense(hidden, config.count("dense_intermediate_size"))
    layers: tuple[Layer, ...] = tuple(
        (chosen if pick else full, routed if moe else plain, 2 * hidden)
        for pick, moe in zip(picks, routed_layers, strict=True)
    )
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))


def _head_norms(config: Config, shape: Heads) -> int:
    if not config.flag("use_qk_norm", False):
        return 0
    if config.text("qk_norm_type", "per_layer") == "per_layer":
        return (shape.heads + shape.kv_heads) * shape.head_dim
    return 2 * shape.head_dim


def _block_sparse(config: Config, hidden: int, full: Attention) -> Attention:
    heads, width = config.count("sparse_num_index_heads"), config.count("sparse_index_dim")
    span = config.count("sparse_topk_blocks") * config.count("sparse_block_size")
    return replace(
        full,
        params=full.params + hidden * (heads + 1) * width + 2 * width,
        cached_values_per_token=full.cached_values_per_token + width,
        read_span_tokens=span,
        indexer_values_per_token=width,
        indexer_heads=heads,
    )


def _per_layer(config: Config, key: str, count: int) -> list[int]:
    marks = config.counts(key)
    if len(marks) < count:
        raise config.wrong(key, f"names {len(marks)} layers, but the model has {count}")
    return marks[:count]


def read_mimo_v2(config: Config) -> Body:
    """MiMo V2: full layers and window layers with head counts of their own; values narrower than keys."""
    hidden, count = config.count("hidden_size"), config.layers()
    full = read_heads(config, hidden)
    window = Heads(
        config.count("swa_num_attention_heads"),
        config.count("swa_num_key_value_heads"),
        config.count("swa_head_dim"),
        config.count("swa_v_head_dim"),
    )
    check_kv_heads(config, window.heads, window.kv_heads, "swa_num_key_value_heads")
    sinks = config.flag("add_swa_attention_sink_bias", False)
    full_sinks = full.heads if config.flag("add_full_attention_sink_bias", False) else 0
    bias = config.flag("attention_bias", False)
    span = config.count("sliding_window")
    by_mark = (
        gqa(hidden, full, qkv_bias=bias, extra_params=full_sinks),
        gqa(hidden, window, qkv_bias=bias, extra_params=window.heads if sinks else 0, window_tokens=span),
    )
    plain, routed = (
        dense(hidden, config.count("intermediate_size")),
        shared_expert_ffn(config, hidden, router_bias=True),
    )
    marks, routed_layers = (
        _per_layer(config, "hybrid_layer_pattern", count),
        _per_layer(config, "moe_layer_freq", count),
    )
    layers: tuple[Layer, ...] = tuple(
        (by_mark[mark > 0], routed if moe else plain, 2 * hidden)
        for mark, moe in zip(marks, routed_layers, strict=True)
    )
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))


def read_step3(config: Config) -> Body:
    """Step 3.5 / 3.7 Flash: window layers may have more heads; one shared expert; leading dense layers."""
    hidden, count = config.count("hidden_size"), config.layers()
    shape = read_heads(config, hidden)
    kinds = config.per_layer("layer_types", count, ("full_attention", "sliding_attention"))
    shapes = {"full_attention": shape, "sliding_attention": _step_window_heads(config, shape)}
    spans = {"full_attention": None, "sliding_attention": config.count("sliding_window")}
    gate = config.flag("use_head_wise_attn_gate", True)
    experts = read_experts(config)
    shared = mlp_params(hidden, config.count("share_expert_dim"))
    bias = config.flag("use_moe_router_bias", False)
    width = config.count("moe_intermediate_size")
    routed = sparse(hidden, experts, width, shared_params=shared, router_bias=bias)
    plain = dense(hidden, config.count("intermediate_size"))
    first = config.count("first_k_dense_replace", default=0, least=0)
    layers: list[Layer] = []
    for i, kind in enumerate(kinds):
        extra = 2 * shape.head_dim + (hidden * shapes[kind].heads if gate else 0)
        attention = gqa(hidden, shapes[kind], extra_params=extra, window_tokens=spans[kind])
        layers.append((attention, plain if i < first else routed, 2 * hidden))
    return Body(
        hidden, tuple(layers), hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config)
    )


def _step_window_heads(config: Config, shape: Heads) -> Heads:
    if not config.has("attention_other_setting"):
        return shape
    other = config.section("attention_other_setting")
    heads, kv_heads = other.count("num_attention_heads"), other.count("num_attention_groups")
    check_kv_heads(other, heads, kv_heads, "num_attention_groups")
    return Heads(heads, kv_heads, shape.head_dim, shape.head_dim)
