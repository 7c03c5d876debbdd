"""Hybrids of full attention and layers with a fixed state: Qwen3-Next, Qwen3.5, Kimi Linear, Kimi K3, Ling 2.5."""

from __future__ import annotations

from polyfleet.terms.architecture.linear import gated_delta_net, kimi_delta_attention, lightning_attention
from polyfleet.terms.architecture.moe import draft_notes, shared_expert_ffn
from polyfleet.terms.architecture.parts import (
    Body,
    Layer,
    dense,
    gqa,
    mla,
    mlp_params,
    read_experts,
    read_heads,
    sparse,
)
from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Attention, Ffn

_STATE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def read_qwen_hybrid(config: Config) -> Body:
    """Qwen3-Next and Qwen3.5 / 3.6, dense or MoE: full attention (with an output gate) on every fourth layer."""
    hidden, count = config.count("hidden_size"), config.layers()
    shape = read_heads(config, hidden)
    gate = 2 if config.flag("attn_output_gate", True) else 1
    full = gqa(hidden, shape, extra_params=2 * shape.head_dim, query_factor=gate)
    attentions = {"full_attention": full, "linear_attention": _delta_net(config, hidden)}
    ffn = _qwen_ffn(config, hidden)
    kinds = _qwen_layer_types(config, count)
    layers: tuple[Layer, ...] = tuple((attentions[kind], ffn, 2 * hidden) for kind in kinds)
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))


def _qwen_layer_types(config: Config, count: int) -> list[str]:
    if config.has("layer_types"):
        return config.per_layer("layer_types", count, ("full_attention", "linear_attention"))
    period = config.count("full_attention_interval", default=4)
    return ["linear_attention" if (i + 1) % period else "full_attention" for i in range(count)]


def _delta_net(config: Config, hidden: int) -> Attention:
    return gated_delta_net(
        hidden,
        key_heads=config.count("linear_num_key_heads"),
        value_heads=config.count("linear_num_value_heads"),
        key_dim=config.count("linear_key_head_dim"),
        value_dim=config.count("linear_value_head_dim"),
        kernel=config.count("linear_conv_kernel_dim"),
        state_bytes=read_state_bytes(config, "mamba_ssm_dtype"),
    )


def read_state_bytes(config: Config, key: str) -> int:
    """Bytes of one state value; fp32 where the config does not say."""
    kind = config.text(key, "float32")
    if kind not in _STATE_BYTES:
        raise config.wrong(key, "is not a number format polyfleet knows", f"known: {', '.join(_STATE_BYTES)}")
    return _STATE_BYTES[kind]


def _qwen_ffn(config: Config, hidden: int) -> Ffn:
    if not config.has("num_experts"):
        return dense(hidden, config.count("intermediate_size"))
    shared = mlp_params(hidden, config.count("shared_expert_intermediate_size")) + hidden  # + its gate
    return sparse(hidden, read_experts(config), config.count("moe_intermediate_size"), shared_params=shared)


def read_kimi_linear(config: Config) -> Body:
    """Kimi Linear and Kimi K3: latent attention on the layers named (from 1) in `full_attn_layers`, KDA elsewhere.

    K3 adds experts that work in a narrower width and attention over earlier layers' outputs.
    """
    hidden, count = config.count("hidden_size"), config.layers()
    linear = config.section("linear_attn_config")
    full_layers = set(linear.counts("full_attn_layers", least=1))
    full = mla(config, hidden, output_gate=config.flag("mla_use_output_gate", False))
    delta = kimi_delta_attention(
        hidden,
        heads=linear.count("num_heads"),
        head_dim=linear.count("head_dim"),
        kernel=linear.count("short_conv_kernel_size"),
        full_rank_gate=linear.flag("use_full_rank_gate", False),
    )
    residual = 4 * hidden if config.has("attn_res_block_size") else 0
    first = config.count("first_k_dense_replace", default=0, least=0)
    plain, routed = dense(hidden, config.count("intermediate_size")), _kimi_ffn(config, hidden)
    layers: tuple[Layer, ...] = tuple(
        (full if i + 1 in full_layers else delta, plain if i < first else routed, 2 * hidden + residual)
        for i in range(count)
    )
    return Body(hidden, layers, hidden + residual // 2, tied=config.flag("tie_word_embeddings", False))


def _kimi_ffn(config: Config, hidden: int) -> Ffn:
    if not config.has("routed_expert_hidden_size"):
        return shared_expert_ffn(config, hidden, router_bias=True)
    width, latent = config.count("moe_intermediate_size"), config.count("routed_expert_hidden_size")
    shared = mlp_params(hidden, width * config.count("num_shared_experts", default=0, least=0))
    norm = latent if config.flag("latent_moe_use_norm", False) else 0
    experts = read_experts(config)
    return sparse(hidden, experts, width, shared_params=shared + norm, router_bias=True, latent=latent)


def read_ling(config: Config) -> Body:
    """Ling 2.5 / 2.6: latent attention on the last layer of each `layer_group_size`, lightning attention elsewhere."""
    hidden, count = config.count("hidden_size"), config.layers()
    period = config.count("layer_group_size")
    whole = count // period * period
    fast = lightning_attention(
        hidden,
        heads=config.count("num_attention_heads"),
        head_dim=config.count("head_dim"),
        head_norms=config.flag("use_qk_norm", False),
    )
    full = mla(config, hidden)
    first = config.count("first_k_dense_replace", default=0, least=0)
    plain, routed = (
        dense(hidden, config.count("intermediate_size")),
        shared_expert_ffn(config, hidden, router_bias=True),
    )
    layers: tuple[Layer, ...] = tuple(
        (full if (i + 1) % period == 0 or i >= whole else fast, plain if i < first else routed, 2 * hidden)
        for i in range(count)
    )
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))
