"""DeepSeek V4: attention over pooled tokens beside a short window, hyper-connections, FP4 experts."""

from __future__ import annotations

from polyfleet.terms.architecture.moe import draft_notes, shared_expert_ffn
from polyfleet.terms.architecture.parts import Body, Layer
from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Attention
from polyfleet.terms.precision import Precision

_NOTES = (
    "the hash-routing tables of the first layers are not counted",
    "engines keep this model's cache in FP8 unless told otherwise",
)
_SPARSE_RATIO = 4  # layers pooled by 4 choose with an indexer; those pooled by 128 read all they keep


def read_deepseek_v4(config: Config) -> Body:
    """DeepSeek V4. `compress_ratios` gives, per layer, input tokens per pooled entry (0 = the window alone)."""
    hidden, count = config.count("hidden_size"), config.layers()
    ratios = config.counts("compress_ratios")
    if len(ratios) < count:
        raise config.wrong("compress_ratios", f"names {len(ratios)} layers, but the model has {count}")
    streams = config.count("hc_mult", default=1)
    norms = 2 * hidden + 2 * _hyper_connection_params(streams, hidden)
    hashed = config.count("num_hash_layers", default=0, least=0)  # their routers look experts up and have no bias
    ffns = [shared_expert_ffn(config, hidden, router_bias=i >= hashed) for i in range(count)]
    layers: tuple[Layer, ...] = tuple(
        (_attention(config, hidden, ratio), ffn, norms) for ratio, ffn in zip(ratios, ffns, strict=False)
    )
    head_mix = streams * streams * hidden + streams + 1 if streams > 1 else 0
    return Body(
        hidden,
        layers,
        hidden + head_mix,
        tied=config.flag("tie_word_embeddings", False),
        cache_precision=Precision.FP8,
        notes=(*draft_notes(config), *_NOTES),
    )


def _hyper_connection_params(streams: int, hidden: int) -> int:
    """A mixing matrix over all residual streams, its bias and three scales (none with one stream)."""
    mixes = (2 + streams) * streams
    return mixes * streams * hidden + mixes + 3 if streams > 1 else 0


def _attention(config: Config, hidden: int, ratio: int) -> Attention:
    heads, width, rank = config.count("num_attention_heads"), config.count("head_dim"), config.count("q_lora_rank")
    groups, out_rank = config.count("o_groups"), config.count("o_lora_rank")
    window = config.count("sliding_window")
    params = hidden * rank + rank + rank * heads * width + hidden * width + width
    params += heads * width * out_rank + groups * out_rank * hidden + heads
    index_heads = index_width = 0
    if ratio == _SPARSE_RATIO:
        index_heads, index_width = config.count("index_n_heads"), config.count("index_head_dim")
        params += pooling_params(hidden, 2 * width, ratio, width)
        params += pooling_params(hidden, 2 * index_width, ratio, index_width)
        params += rank * index_heads * index_width + hidden * index_heads
    elif ratio:
        params += pooling_params(hidden, width, ratio, width)
    return Attention(
        kind="mla",
        heads=heads,
        kv_heads=1,
        head_dim=width,
        value_dim=width,
        params=params,
        cached_values_per_token=width + index_width,
        cached_span_tokens=None if ratio else window,
        read_span_tokens=config.count("index_topk") if ratio == _SPARSE_RATIO else None if ratio else window,
        compression=1.0 / ratio if ratio else 1.0,
        indexer_values_per_token=index_width,
        indexer_heads=index_heads,
        latent_dim=width,
        local_span_tokens=window if ratio else 0,
    )


def pooling_params(hidden: int, width: int, ratio: int, out_width: int) -> int:
    """A compressor: key-value and gate projections, a position bias per pooled slot, a norm."""
    return 2 * hidden * width + ratio * width + out_width
