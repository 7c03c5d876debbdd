"""Grouped attention with routed experts: Mixtral, Qwen MoE, GLM-4.x, ERNIE-4.5, Llama 4, gpt-oss."""

from __future__ import annotations

from polyfleet.terms.architecture.parts import Body, Layer, dense, gqa, mlp_params, read_experts, read_heads, sparse
from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Ffn


def read_mixtral(config: Config) -> Body:
    """Mixtral: every layer routed, no shared expert."""
    hidden = config.count("hidden_size")
    window = config.count("sliding_window") if config.has("sliding_window") else None
    attention = gqa(hidden, read_heads(config, hidden), window_tokens=window)
    experts = read_experts(config, "num_local_experts")
    layer: Layer = (attention, sparse(hidden, experts, config.count("intermediate_size")), 2 * hidden)
    return Body(hidden, (layer,) * config.layers(), hidden, tied=config.flag("tie_word_embeddings", False))


def read_qwen3_moe(config: Config) -> Body:
    """Qwen3-MoE and its VL text part; `mlp_only_layers` and `decoder_sparse_step` name the dense layers."""
    hidden = config.count("hidden_size")
    shape = read_heads(config, hidden)
    bias = config.flag("attention_bias", False)
    attention = gqa(hidden, shape, qkv_bias=bias, out_bias=bias, extra_params=2 * shape.head_dim)
    routed = sparse(hidden, read_experts(config), config.count("moe_intermediate_size"))
    step = config.count("decoder_sparse_step", default=1)
    dense_layers = set(config.counts("mlp_only_layers")) if config.has("mlp_only_layers") else set()
    layers = []
    for i in range(config.layers()):
        is_dense = i in dense_layers or (i + 1) % step
        ffn = dense(hidden, config.count("intermediate_size")) if is_dense else routed
        layers.append((attention, ffn, 2 * hidden))
    return Body(hidden, tuple(layers), hidden, tied=config.flag("tie_word_embeddings", False))


def read_glm4_moe(config: Config) -> Body:
    """GLM-4.5 to 4.7: query, key and value biases, leading dense layers, one shared expert."""
    hidden = config.count("hidden_size")
    shape = read_heads(config, hidden)
    norms = 2 * shape.head_dim if config.flag("use_qk_norm", False) else 0
    attention = gqa(hidden, shape, qkv_bias=config.flag("attention_bias", False), extra_params=norms)
    routed = shared_expert_ffn(config, hidden, router_bias=True)
    first = config.count("first_k_dense_replace", default=0, least=0)
    plain = dense(hidden, config.count("intermediate_size"))
    layers = tuple((attention, plain if i < first else routed, 2 * hidden) for i in range(config.layers()))
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))


def shared_expert_ffn(config: Config, hidden: int, *, router_bias: bool) -> Ffn:
    """Routed experts plus `n_shared_experts` of the same width that every token passes."""
    width = config.count("moe_intermediate_size")
    shared = config.count("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", default=0, least=0)
    always = mlp_params(hidden, width * shared)
    experts = read_experts(config, "n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
    return sparse(hidden, experts, width, shared_params=always, router_bias=router_bias)


def draft_notes(config: Config) -> tuple[str, ...]:
    """The note on multi-token-prediction layers, which a plain decode does not run."""
    keys = ("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers")
    if any(config.count(key, default=0, least=0) for key in keys):
        return ("multi-token-prediction layers are not counted",)
    return ()


def read_ernie45_moe(config: Config) -> Body:
    """ERNIE-4.5 MoE: dense layers before `moe_layer_start_index`, shared experts beside the routed ones."""
    hidden = config.count("hidden_size")
    bias = config.flag("use_bias", False)
    attention = gqa(hidden, read_heads(config, hidden), qkv_bias=bias, out_bias=bias)
    plain = dense(hidden, config.count("intermediate_size"), bias=bias)
    routed = shared_expert_ffn(config, hidden, router_bias=True)
    layers = config.layers()
    start = config.count("moe_layer_start_index", default=0, least=0)
    end = config.count("moe_layer_end_index", default=layers - 1, least=0)
    step = config.count("moe_layer_interval", default=1)
    kinds = [start <= i <= end and (i + 1) % step == 0 for i in range(layers)]
    body = tuple((attention, routed if moe else plain, 2 * hidden) for moe in kinds)
    return Body(hidden, body, hidden, tied=config.flag("tie_word_embeddings", True))


def read_llama4(config: Config) -> Body:
    """Llama 4: one shared expert, top-1 routing on every `interleave_moe_layer_step`-th layer; three of four layers
    attend within chunks."""
    hidden = config.count("hidden_size")
    shape, width = read_heads(config, hidden), config.count("intermediate_size")
    routed = sparse(hidden, read_experts(config, "num_local_experts"), width, shared_params=mlp_params(hidden, width))
    plain = dense(hidden, config.count("intermediate_size_mlp"))
    step = config.count("interleave_moe_layer_step", default=1)
    full_every = config.count("no_rope_layer_interval", default=4)
    chunk = config.count("attention_chunk_size") if config.has("attention_chunk_size") else None
    layers: list[Layer] = []
    for i in range(1, config.layers() + 1):
        attention = gqa(hidden, shape, window_tokens=None if i % full_every == 0 else chunk)
        layers.append((attention, plain if i % step else routed, 2 * hidden))
    return Body(hidden, tuple(layers), hidden, tied=config.flag("tie_word_embeddings", False))


def read_gpt_oss(config: Config) -> Body:
    """gpt-oss: biases everywhere (experts and router too), attention sinks, a window on every second layer."""
    hidden = config.count("hidden_size")
    shape, width = read_heads(config, hidden), config.count("intermediate_size")
    total, per_token = read_experts(config, "num_local_experts", "num_experts")
    ffn = Ffn(hidden * total + total, total, per_token, mlp_params(hidden, width) + 2 * width + hidden, hidden)
    kinds = config.per_layer("layer_types", config.layers(), ("sliding_attention", "full_attention"))
    window = config.count("sliding_window")
    bias = config.flag("attention_bias", True)
    layers: list[Layer] = []
    for kind in kinds:
        span = window if kind == "sliding_attention" else None
        attention = gqa(hidden, shape, qkv_bias=bias, out_bias=bias, extra_params=shape.heads, window_tokens=span)
        layers.append((attention, ffn, 2 * hidden))
    return Body(hidden, tuple(layers), hidden, tied=config.flag("tie_word_embeddings", False))
