"""Decoders from before Llama: un-gated MLPs of four times the width, LayerNorms with bias, biases elsewhere too."""

from __future__ import annotations

from polyfleet.terms.architecture.parts import Body, Layer, dense, gqa, read_heads
from polyfleet.terms.architecture.reading import Config


def read_bloom(config: Config) -> Body:
    """BLOOM: multi-head with ALiBi, a LayerNorm on the embeddings, tied head."""
    hidden = config.count("hidden_size", "n_embed")
    attention = gqa(hidden, read_heads(config, hidden), qkv_bias=True, out_bias=True)
    layer: Layer = (attention, dense(hidden, 4 * hidden, gated=False, bias=True), 4 * hidden)
    return Body(hidden, (layer,) * config.layers(), 4 * hidden, tied=config.flag("tie_word_embeddings", True))


def read_gptj(config: Config) -> Body:
    """GPT-J: attention and MLP in parallel behind one LayerNorm; the head has a bias."""
    hidden = config.count("n_embd", "hidden_size")
    inner = config.count("n_inner", "intermediate_size", default=4 * hidden)
    layer: Layer = (gqa(hidden, read_heads(config, hidden)), dense(hidden, inner, gated=False, bias=True), 2 * hidden)
    return Body(
        hidden, (layer,) * config.layers(), 2 * hidden, tied=config.flag("tie_word_embeddings", False), head_bias=True
    )


def read_gpt_neox(config: Config) -> Body:
    """GPT-NeoX: biases everywhere but in the head."""
    hidden = config.count("hidden_size")
    bias = config.flag("attention_bias", True)
    attention = gqa(hidden, read_heads(config, hidden), qkv_bias=bias, out_bias=bias)
    layer: Layer = (attention, dense(hidden, config.count("intermediate_size"), gated=False, bias=True), 4 * hidden)
    return Body(hidden, (layer,) * config.layers(), 2 * hidden, tied=config.flag("tie_word_embeddings", False))


def read_falcon(config: Config) -> Body:
    """Falcon: multi-query (7B) or grouped (40B, 180B); the new decoder has a LayerNorm for each branch."""
    hidden = config.count("hidden_size")
    new = config.flag("new_decoder_architecture", False)
    multi_query = not new and config.flag("multi_query", True)
    shape = read_heads(config, hidden, kv_key="num_kv_heads" if new else "", kv_default=1 if multi_query else 0)
    bias = config.flag("bias", False)
    attention = gqa(hidden, shape, qkv_bias=bias, out_bias=bias)
    norms = 4 * hidden if new or not config.flag("parallel_attn", True) else 2 * hidden
    inner = config.count("ffn_hidden_size", default=4 * hidden)
    layer: Layer = (attention, dense(hidden, inner, gated=False, bias=bias), norms)
    return Body(hidden, (layer,) * config.layers(), 2 * hidden, tied=config.flag("tie_word_embeddings", True))


def read_phi(config: Config) -> Body:
    """Phi-1 and Phi-2: one LayerNorm a layer, biases everywhere, the head too."""
    hidden = config.count("hidden_size")
    attention = gqa(hidden, read_heads(config, hidden), qkv_bias=True, out_bias=True)
    layer: Layer = (attention, dense(hidden, config.count("intermediate_size"), gated=False, bias=True), 2 * hidden)
    tied = config.flag("tie_word_embeddings", False)
    return Body(hidden, (layer,) * config.layers(), 2 * hidden, tied=tied, head_bias=True)
