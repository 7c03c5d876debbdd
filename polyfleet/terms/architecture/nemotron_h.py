"""Nemotron-H and Nemotron 3: a stack of single blocks, each Mamba-2, attention, a plain MLP or routed experts."""

from __future__ import annotations

from polyfleet.terms.architecture.hybrid import read_state_bytes
from polyfleet.terms.architecture.linear import mamba2
from polyfleet.terms.architecture.moe import draft_notes
from polyfleet.terms.architecture.parts import (
    NO_ATTENTION,
    NO_FFN,
    Body,
    Layer,
    dense,
    gqa,
    mlp_params,
    read_experts,
    read_heads,
    sparse,
)
from polyfleet.terms.architecture.reading import MOST_LAYERS, Config
from polyfleet.terms.model import Attention, Ffn

_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


def read_nemotron_h(config: Config) -> Body:
    """Nemotron-H. A block has one mixer and one norm, so `layers` counts blocks, as the publisher does."""
    hidden = config.count("hidden_size")
    known: dict[str, Layer] = {}
    layers: list[Layer] = []
    for kind in _blocks(config):
        if kind not in known:
            known[kind] = (*_block(config, hidden, kind), hidden)
        layers.append(known[kind])
    return Body(
        hidden, tuple(layers), hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config)
    )


def _blocks(config: Config) -> list[str]:
    if config.has("layers_block_type"):
        words = config.texts("layers_block_type")
        kinds = config.per_layer("layers_block_type", len(words), tuple(_LETTERS.values()))
        if not kinds:
            raise config.wrong("layers_block_type", "is empty")
        return kinds
    pattern = config.text("hybrid_override_pattern", "")
    wrong = set(pattern) - set(_LETTERS)
    if not 0 < len(pattern) <= MOST_LAYERS or wrong:
        raise config.wrong("hybrid_override_pattern", "must be letters M, *, - and E, one per layer")
    if config.has("num_hidden_layers") and len(pattern) != config.layers():
        raise config.wrong("hybrid_override_pattern", f"has {len(pattern)} letters for {config.layers()} layers")
    return [_LETTERS[letter] for letter in pattern]


def _block(config: Config, hidden: int, kind: str) -> tuple[Attention, Ffn]:
    if kind == "mamba":
        return _mamba(config, hidden), NO_FFN
    if kind == "attention":
        bias = config.flag("attention_bias", False)
        return gqa(hidden, read_heads(config, hidden), qkv_bias=bias, out_bias=bias), NO_FFN
    if kind == "mlp":
        bias = config.flag("mlp_bias", False)
        return NO_ATTENTION, dense(hidden, config.count("intermediate_size"), gated=False, bias=bias)
    return NO_ATTENTION, _experts(config, hidden)


def _mamba(config: Config, hidden: int) -> Attention:
    return mamba2(
        hidden,
        heads=config.count("mamba_num_heads"),
        head_dim=config.count("mamba_head_dim"),
        groups=config.count("n_groups"),
        state_dim=config.count("ssm_state_size"),
        kernel=config.count("conv_kernel"),
        conv_bias=config.flag("use_conv_bias", True),
        state_bytes=read_state_bytes(config, "mamba_ssm_cache_dtype"),
    )


def _experts(config: Config, hidden: int) -> Ffn:
    shared = mlp_params(hidden, config.count("moe_shared_expert_intermediate_size"), gated=False)
    latent = config.count("moe_latent_size", default=0, least=0)
    width = config.count("moe_intermediate_size")
    experts = read_experts(config, "n_routed_experts")
    return sparse(hidden, experts, width, shared_params=shared, router_bias=True, gated=False, latent=latent)
