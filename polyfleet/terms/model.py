"""An architecture as its config.json states it, and what follows: parameters, weight bytes, KV bytes, FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyfleet.terms.precision import Precision

AttentionKind = Literal["gqa", "mla", "linear", "none"]


@dataclass(frozen=True, slots=True)
class Attention:
    """The sequence-mixing part of one layer. Counts are per layer, of the whole model (before any sharding).

    `kind`: `gqa` (multi-head, grouped and multi-query), `mla` (a latent shared by all heads), `linear` (a state of
    fixed size: Mamba, gated delta net, lightning attention), `none`.
    `cached_values_per_token`: numbers kept in the KV cache per token (gqa: kv_heads x (head_dim + value_dim); mla:
    latent + rope, plus a sparse indexer's keys; linear: 0). `state_values`: numbers kept per sequence whatever its
    length. `cached_span_tokens`: most tokens kept (sliding window; None = all). `read_span_tokens`: most tokens read by
    a decode step (sliding window or sparse top-k; None = all). `compression`: cached tokens per input token
    (1 unless the architecture pools tokens). `indexer_values_per_token`: numbers of a sparse indexer that every step
    reads for every cached token, part of `cached_values_per_token`; `indexer_heads` heads score each of them.
    `latent_dim`: width of the MLA latent (0 elsewhere). `local_span_tokens`: newest tokens kept and read unpooled
    beside a pooled cache (DeepSeek-V4). `state_bytes`: bytes of the fixed state, in the formats the config states.
    """

    kind: AttentionKind
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    params: int
    cached_values_per_token: int = 0
    state_values: int = 0
    cached_span_tokens: int | None = None
    read_span_tokens: int | None = None
    compression: float = 1.0
    indexer_values_per_token: int = 0
    indexer_heads: int = 0
    latent_dim: int = 0
    local_span_tokens: int = 0
    state_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ffn:
    """The feed-forward part of one layer. Dense: `experts` = 0 and all of it is `shared_params`.

    `expert_params` is one routed expert's; `shared_params` counts what every token passes (dense MLP, shared
    experts, router, latent projections). `expert_width`: width of what an expert is given (0 = the hidden size).
    """

    shared_params: int
    experts: int = 0
    experts_per_token: int = 0
    expert_params: int = 0
    expert_width: int = 0

    @property
    def total_params(self) -> int:
        return self.shared_params + self.experts * self.expert_params

    @property
    def active_params(self) -> int:
        return self.shared_params + self.experts_per_token * self.expert_params

    def experts_touched(self, tokens: float) -> float:
        """Experts that a batch of `tokens` touches on average when the router is even: E (1 - (1 - k/E)^B)."""
        if not self.experts:
            return 0.0
        untouched: float = (1.0 - self.experts_per_token / self.experts) ** tokens
        return self.experts * (1.0 - untouched)


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """`count` equal layers. Norms are counted in `other_params` (per layer)."""

    count: int
    attention: Attention
    ffn: Ffn
    other_params: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The formats a checkpoint is stored in.

    Parts named False stay in `rest_precision` when the others are in `precision`; embeddings and norms are in bf16, and
    so is the head unless `head_quantised`. `bytes_per_value` counts block scales where the config states another block
    size than `precision` assumes (0 = as `precision`).
    """

    precision: Precision
    attention_quantised: bool = False
    dense_quantised: bool = False
    experts_quantised: bool = False
    kv_precision: Precision = Precision.BF16
    rest_precision: Precision = Precision.BF16
    head_quantised: bool = False
    bytes_per_value: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """A decoder-only transformer (or hybrid). `embedding_params` counts the input table, `head_params` the output
    projection (0 where tied). Vision and audio towers are not counted: `notes` says so where a config has one."""

    name: str
    architecture: str
    hidden_size: int
    vocab_size: int
    groups: tuple[LayerGroup, ...]
    embedding_params: int
    head_params: int
    checkpoint: Checkpoint
    max_context_tokens: int
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        return sum(g.count for g in self.groups)

    @property
    def total_params(self) -> int:
        """All parameters, embeddings included."""
        body = sum(g.count * (g.attention.params + g.ffn.total_params + g.other_params) for g in self.groups)
        return body + self.embedding_params + self.head_params

    @property
    def active_params(self) -> int:
        """Parameters one token passes, embeddings included, as publishers count them."""
        body = sum(g.count * (g.attention.params + g.ffn.active_params + g.other_params) for g in self.groups)
        return body + self.embedding_params + self.head_params

    @property
    def is_moe(self) -> bool:
        return any(g.ffn.experts for g in self.groups)
