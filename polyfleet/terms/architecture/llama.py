"""Dense decoders with gated MLP and RMSNorm: Llama, Mistral, Ministral, Qwen 1 to 3, MiMo-7B, NAS-pruned Llama."""

from __future__ import annotations

from polyfleet.terms.architecture.parts import (
    NO_ATTENTION,
    NO_FFN,
    Body,
    Heads,
    Layer,
    check_kv_heads,
    default_head_dim,
    dense,
    gqa,
    read_heads,
)
from polyfleet.terms.architecture.reading import Config


def read_llama(config: Config) -> Body:
    """Llama, Mistral and Ministral: no biases unless `attention_bias` / `mlp_bias` says so."""
    bias = config.flag("attention_bias", False)
    return _uniform(config, qkv_bias=bias, out_bias=bias, head_norms=False, window=_window(config, True))


def read_qwen2(config: Config) -> Body:
    """Qwen2, Qwen2.5 and MiMo-7B: biases on queries, keys and values only."""
    window = _window(config, config.flag("use_sliding_window", False))
    bias = config.flag("attention_bias", True)
    return _uniform(config, qkv_bias=bias, out_bias=False, head_norms=False, window=window)


def read_qwen3(config: Config) -> Body:
    """Qwen3 and the text part of Qwen3-VL: a norm on each query and key head."""
    bias = config.flag("attention_bias", False)
    window = _window(config, config.flag("use_sliding_window", False))
    return _uniform(config, qkv_bias=bias, out_bias=bias, head_norms=True, window=window)


def read_qwen1(config: Config) -> Body:
    """Qwen 1: `intermediate_size` counts gate and up together; queries, keys and values always have biases."""
    hidden = config.count("hidden_size")
    attention = gqa(hidden, read_heads(config, hidden), qkv_bias=True)
    layer: Layer = (attention, dense(hidden, config.count("intermediate_size", least=2) // 2), 2 * hidden)
    return Body(hidden, (layer,) * config.layers(), hidden, tied=config.flag("tie_word_embeddings", False))


def read_nas_llama(config: Config) -> Body:
    """Llama pruned by architecture search (DeciLM, Nemotron Super): each layer has its own shape, or lacks a part."""
    hidden, heads = config.count("hidden_size"), config.count("num_attention_heads")
    blocks = config.sections("block_configs")
    if len(blocks) != config.layers():
        raise config.wrong(
            "block_configs", f"describes {len(blocks)} layers, but num_hidden_layers is {config.layers()}"
        )
    layers = tuple(_nas_layer(block, hidden, heads) for block in blocks)
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False))


def _uniform(config: Config, *, qkv_bias: bool, out_bias: bool, head_norms: bool, window: int | None) -> Body:
    hidden = config.count("hidden_size")
    shape = read_heads(config, hidden)
    norms = 2 * shape.head_dim if head_norms else 0
    attention = gqa(hidden, shape, qkv_bias=qkv_bias, out_bias=out_bias, extra_params=norms, window_tokens=window)
    ffn = dense(hidden, config.count("intermediate_size"), bias=config.flag("mlp_bias", False))
    layers: tuple[Layer, ...] = ((attention, ffn, 2 * hidden),) * config.layers()
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False))


def _window(config: Config, used: bool) -> int | None:
    return config.count("sliding_window") if used and config.has("sliding_window") else None


def _nas_layer(block: Config, hidden: int, heads: int) -> Layer:
    attention_config, ffn_config = block.section("attention"), block.section("ffn")
    attention, ffn, norms = NO_ATTENTION, NO_FFN, 0
    for part in (attention_config, ffn_config):
        if part.flag("replace_with_linear", False):
            raise part.wrong("replace_with_linear", "is not a layer polyfleet can count")
    if not attention_config.flag("no_op", False):
        group = attention_config.count("n_heads_in_group")
        check_kv_heads(attention_config, heads, group, "n_heads_in_group")
        width = default_head_dim(attention_config, hidden, heads)
        attention, norms = gqa(hidden, Heads(heads, heads // group, width, width)), norms + hidden
    if not ffn_config.flag("no_op", False):
        ffn, norms = dense(hidden, nas_width(ffn_config.number("ffn_mult"), hidden)), norms + hidden
    return attention, ffn, norms


def nas_width(multiple: float, hidden: int) -> int:
    """Intermediate width: 2/3 of the multiple of the hidden size, rounded up to 256 (DeciLM's published code)."""
    return -(-int(2 * multiple * hidden / 3) // 256) * 256
