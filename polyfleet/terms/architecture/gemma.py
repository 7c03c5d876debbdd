"""Gemma 1 to 4: tied embeddings, wide heads; from the second on sliding windows and four norms a layer."""

from __future__ import annotations

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
from polyfleet.terms.model import Attention, Ffn

_KINDS = ("sliding_attention", "full_attention")


def read_gemma1(config: Config) -> Body:
    """Gemma 1: full attention, two norms a layer."""
    hidden = config.count("hidden_size")
    layer: Layer = (
        gqa(hidden, read_heads(config, hidden)),
        dense(hidden, config.count("intermediate_size")),
        2 * hidden,
    )
    return Body(hidden, (layer,) * config.layers(), hidden, tied=config.flag("tie_word_embeddings", True))


def read_gemma2(config: Config) -> Body:
    """Gemma 2: a window on every second layer."""
    return _windowed(config, default_period=2, head_norms=False)


def read_gemma3(config: Config) -> Body:
    """Gemma 3: windows on five of six layers, a norm on each query and key head."""
    return _windowed(config, default_period=6, head_norms=True)


def _windowed(config: Config, *, default_period: int, head_norms: bool) -> Body:
    hidden = config.count("hidden_size")
    shape = read_heads(config, hidden)
    window = config.count("sliding_window")
    ffn = dense(hidden, config.count("intermediate_size"))
    norms = 2 * shape.head_dim if head_norms else 0
    kinds = _layer_types(config, default_period)
    layers: tuple[Layer, ...] = tuple(
        (gqa(hidden, shape, extra_params=norms, window_tokens=window if kind == _KINDS[0] else None), ffn, 4 * hidden)
        for kind in kinds
    )
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", True))


def _layer_types(config: Config, default_period: int) -> list[str]:
    layers = config.layers()
    if config.has("layer_types"):
        return config.per_layer("layer_types", layers, _KINDS)
    period = config.count("sliding_window_pattern", default=default_period)
    return [_KINDS[(i + 1) % period == 0] for i in range(layers)]


def read_gemma4(config: Config) -> Body:
    """Gemma 4: full layers have wider heads and may make values from the key projection; MoE beside the dense MLP."""
    for key in ("hidden_size_per_layer_input", "num_kv_shared_layers"):
        if config.count(key, default=0, least=0):
            raise config.wrong(key, "is not counted by polyfleet", "only Gemma 4 without per-layer inputs is known")
    hidden = config.count("hidden_size")
    moe = config.flag("enable_moe_block", False)
    ffn = _gemma4_moe(config, hidden) if moe else dense(hidden, config.count("intermediate_size"))
    norms = 7 * hidden if moe else 4 * hidden
    attentions = {kind: _gemma4_attention(config, hidden, kind) for kind in _KINDS}
    layers = tuple((attentions[kind], ffn, norms) for kind in config.per_layer("layer_types", config.layers(), _KINDS))
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", True))


def _gemma4_attention(config: Config, hidden: int, kind: str) -> Attention:
    shape = read_heads(config, hidden)
    if kind == _KINDS[0]:
        window = config.count("sliding_window")
        return gqa(hidden, shape, extra_params=2 * shape.head_dim, window_tokens=window)
    width = config.count("global_head_dim", default=shape.head_dim)
    kv_heads = config.count("num_global_key_value_heads", default=shape.kv_heads)
    check_kv_heads(config, shape.heads, kv_heads, "num_global_key_value_heads")
    shared = config.flag("attention_k_eq_v", False)
    wide = Heads(shape.heads, kv_heads, width, width)
    return gqa(hidden, wide, extra_params=2 * width, shared_key_value=shared)


def _gemma4_moe(config: Config, hidden: int) -> Ffn:
    experts = read_experts(config)
    always = mlp_params(hidden, config.count("intermediate_size")) + hidden + experts[0]
    return sparse(hidden, experts, config.count("moe_intermediate_size"), shared_params=always)
