"""The building blocks that families share: attention, feed-forward, experts, and layers put into groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Attention, Ffn, LayerGroup
from polyfleet.terms.precision import Precision

Layer = tuple[Attention, Ffn, int]

NO_ATTENTION = Attention(kind="none", heads=0, kv_heads=0, head_dim=0, value_dim=0, params=0)
NO_FFN = Ffn(shared_params=0)


@dataclass(frozen=True, slots=True)
class Body:
    """What a family reader finds: one entry a layer, and parameters outside layers other than the two tables.

    `cache_precision`: the format engines keep the cache in when neither the config nor the user says.
    `notes` say what the reader left out or assumed.
    """

    hidden_size: int
    layers: tuple[Layer, ...]
    extra_params: int
    tied: bool = False
    head_bias: bool = False
    cache_precision: Precision = Precision.BF16
    notes: tuple[str, ...] = ()


def group_layers(layers: Iterable[Layer]) -> tuple[LayerGroup, ...]:
    """Equal layers counted together, in order of first appearance."""
    return tuple(LayerGroup(count, attn, ffn, other) for (attn, ffn, other), count in Counter(layers).items())


@dataclass(frozen=True, slots=True)
class Heads:
    """Head counts and widths of one attention layer."""

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int


def read_heads(config: Config, hidden: int, *, kv_key: str = "num_key_value_heads", kv_default: int = 0) -> Heads:
    """Heads under their usual names; `head_dim` defaults to hidden / heads, KV heads to `kv_default`, else heads."""
    heads = config.count("num_attention_heads", "n_head", "num_heads")
    kv_heads = config.count(kv_key, default=kv_default or heads)
    check_kv_heads(config, heads, kv_heads, kv_key)
    head_dim = config.count("head_dim", "attention_head_dim", default=0, least=0) or default_head_dim(
        config, hidden, heads
    )
    return Heads(heads, kv_heads, head_dim, config.count("v_head_dim", default=head_dim))


def check_kv_heads(config: Config, heads: int, kv_heads: int, key: str = "num_key_value_heads") -> None:
    """Raise ModelError unless heads are a multiple of KV heads."""
    if heads % kv_heads:
        raise config.wrong(key, f"must divide the {heads} attention heads")


def default_head_dim(config: Config, hidden: int, heads: int) -> int:
    """hidden / heads where the config names no head_dim."""
    if hidden % heads:
        raise config.wrong("num_attention_heads", f"must divide hidden_size {hidden} when head_dim is not given")
    return hidden // heads


def gqa(
    hidden: int,
    shape: Heads,
    *,
    qkv_bias: bool = False,
    out_bias: bool = False,
    extra_params: int = 0,
    query_factor: int = 1,
    window_tokens: int | None = None,
    shared_key_value: bool = False,
) -> Attention:
    """Multi-head, grouped or multi-query attention.

    `query_factor` 2 = the query projection also makes an output gate. `extra_params`: head norms, sinks and the like.
    `shared_key_value`: one projection makes keys and values (both are still cached).
    """
    queries = shape.heads * shape.head_dim * query_factor
    keys = shape.kv_heads * shape.head_dim
    values = 0 if shared_key_value else shape.kv_heads * shape.value_dim
    params = hidden * (queries + keys + values) + shape.heads * shape.value_dim * hidden
    params += (queries + keys + values if qkv_bias else 0) + (hidden if out_bias else 0)
    return Attention(
        kind="gqa",
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        value_dim=shape.value_dim,
        params=params + extra_params,
        cached_values_per_token=shape.kv_heads * (shape.head_dim + shape.value_dim),
        cached_span_tokens=window_tokens,
        read_span_tokens=window_tokens,
    )


@dataclass(frozen=True, slots=True)
class Indexer:
    """A sparse indexer (DeepSeek sparse attention): `keep_tokens` cached tokens are chosen for each query."""

    heads: int
    head_dim: int
    keep_tokens: int
    params: int


def mla(config: Config, hidden: int, *, indexer: Indexer | None = None, output_gate: bool = False) -> Attention:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values come from one cached latent."""
    heads = config.count("num_attention_heads")
    nope, rope = config.count("qk_nope_head_dim"), config.count("qk_rope_head_dim")
    value, latent = config.count("v_head_dim"), config.count("kv_lora_rank")
    query_rank = config.count("q_lora_rank", default=0, least=0)
    bias = config.flag("attention_bias", False)
    if query_rank:
        params = hidden * query_rank + query_rank + query_rank * heads * (nope + rope) + (query_rank if bias else 0)
    else:
        params = hidden * heads * (nope + rope)
    params += hidden * (latent + rope) + latent + latent * heads * (nope + value) + heads * value * hidden
    params += (latent + rope + hidden if bias else 0) + (hidden * heads * value if output_gate else 0)
    return Attention(
        kind="mla",
        heads=heads,
        kv_heads=1,
        head_dim=nope + rope,
        value_dim=value,
        params=params + (indexer.params if indexer else 0),
        cached_values_per_token=latent + rope + (indexer.head_dim if indexer else 0),
        read_span_tokens=indexer.keep_tokens if indexer else None,
        indexer_values_per_token=indexer.head_dim if indexer else 0,
        indexer_heads=indexer.heads if indexer else 0,
        latent_dim=latent,
    )


def dense(hidden: int, intermediate: int, *, gated: bool = True, bias: bool = False) -> Ffn:
    """A feed-forward network: gate, up and down, or only up and down."""
    return Ffn(shared_params=mlp_params(hidden, intermediate, gated=gated, bias=bias))


def mlp_params(hidden: int, intermediate: int, *, gated: bool = True, bias: bool = False) -> int:
    """Parameters of one feed-forward network."""
    ups = 2 if gated else 1
    return (ups + 1) * hidden * intermediate + (ups * intermediate + hidden if bias else 0)


def read_experts(config: Config, *keys: str) -> tuple[int, int]:
    """(experts, experts per token), the second checked against the first."""
    experts = config.count(*(keys or ("n_routed_experts", "num_experts", "num_local_experts")))
    per_token_keys = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "top_k_experts", "moe_top_k")
    per_token = config.count(*per_token_keys)
    if per_token > experts:
        raise config.wrong(per_token_keys[0], f"is {per_token}, more than the {experts} experts")
    return experts, per_token


def sparse(
    hidden: int,
    experts: tuple[int, int],
    intermediate: int,
    *,
    shared_params: int = 0,
    router_bias: bool = False,
    gated: bool = True,
    latent: int = 0,
) -> Ffn:
    """Routed experts behind one router. `latent` > 0: experts work in that width, between two projections."""
    total, per_token = experts
    width = latent or hidden
    return Ffn(
        shared_params=hidden * total + (total if router_bias else 0) + shared_params + 2 * latent * hidden,
        experts=total,
        experts_per_token=per_token,
        expert_params=mlp_params(width, intermediate, gated=gated),
        expert_width=width,
    )
