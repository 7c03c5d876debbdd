"""Latent attention with routed experts: DeepSeek V2 to V3.2, Kimi K2, GLM-5, Moonlight."""

from __future__ import annotations

from polyfleet.terms.architecture.moe import draft_notes, shared_expert_ffn
from polyfleet.terms.architecture.parts import Body, Indexer, Layer, dense, mla
from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Ffn


def read_deepseek(config: Config) -> Body:
    """DeepSeek V2 / V3 and what shares its form; a sparse indexer where the config has `index_topk` (arXiv 2512.02556).

    `indexer_types` marks layers that reuse the choice of an earlier one (GLM-5.2): they have no indexer of their own.
    """
    hidden, count = config.count("hidden_size"), config.layers()
    indexer = read_indexer(config, hidden) if config.has("index_topk") else None
    own = mla(config, hidden, indexer=indexer)
    reuse = mla(config, hidden, indexer=_reused(indexer)) if indexer else own
    kinds = ["full"] * count
    if indexer and config.has("indexer_types"):
        kinds = config.per_layer("indexer_types", count, ("full", "shared"))
    ffns = _ffns(config, hidden, count)
    layers: tuple[Layer, ...] = tuple(
        (own if kind == "full" else reuse, ffn, 2 * hidden) for kind, ffn in zip(kinds, ffns, strict=True)
    )
    return Body(hidden, layers, hidden, tied=config.flag("tie_word_embeddings", False), notes=draft_notes(config))


def read_indexer(config: Config, hidden: int) -> Indexer:
    """The lightning indexer: queries from the query latent, one key head with a LayerNorm, a weight per head."""
    heads, width = config.count("index_n_heads"), config.count("index_head_dim")
    params = config.count("q_lora_rank") * heads * width + hidden * width + 2 * width + hidden * heads
    return Indexer(heads, width, config.count("index_topk"), params)


def _reused(indexer: Indexer) -> Indexer:
    return Indexer(heads=0, head_dim=0, keep_tokens=indexer.keep_tokens, params=0)


def _ffns(config: Config, hidden: int, count: int) -> list[Ffn]:
    if not config.has("n_routed_experts"):
        return [dense(hidden, config.count("intermediate_size"))] * count
    bias = config.text("topk_method", "noaux_tc") == "noaux_tc"
    routed = shared_expert_ffn(config, hidden, router_bias=bias)
    is_sparse = _sparse_layers(config, count)
    plain = dense(hidden, config.count("intermediate_size")) if not all(is_sparse) else routed
    return [routed if moe else plain for moe in is_sparse]


def _sparse_layers(config: Config, count: int) -> list[bool]:
    if config.has("mlp_layer_types"):
        return [kind == "sparse" for kind in config.per_layer("mlp_layer_types", count, ("dense", "sparse"))]
    first = config.count("first_k_dense_replace", default=0, least=0)
    step = config.count("moe_layer_freq", default=1)
    return [i >= first and i % step == 0 for i in range(count)]
