"""The constants of one point: how much of the datasheet an engine reaches, and the times no datasheet states."""

from __future__ import annotations

from dataclasses import dataclass

from polyfleet.speed.shape import Value


@dataclass(frozen=True, slots=True)
class Rates:
    """Constants of the step model; each a scalar or an array over points.

    `*_eff`: share of the datasheet's rate that is reached; `expert_*_eff` that of grouped GEMMs over that of dense
    ones. Times in seconds: `step_s` a step's fixed cost on the host, `layer_s` a layer's launches, `moe_layer_s` what
    routing adds to one, `mixed_layer_s` a layer's launches by the host in a step that holds prompt tokens,
    `sequence_s` scheduling and sampling of one sequence, `link_latency_s` one all-reduce of a small message,
    `first_token_s` what a request pays once (HTTP, tokeniser, scheduling).
    `sharpness`: exponent of the soft maximum of memory and compute time. `expert_imbalance`: weight of the uneven
    load of expert-parallel ranks. `expert_skew`: how uneven the experts' popularity is, as the square of its
    coefficient of variation (> 0). `chunk_share`: share of a prefill's time by which it delays running sequences.
    `prefill_share`: prefills' worth of waiting before the own one ends. `step_share`: steps waited for.
    `burst_share`: share of the running requests' prefills that a request finds before it.
    """

    memory_eff: Value
    expert_memory_eff: Value
    attention_eff: Value
    compute_eff: Value
    expert_compute_eff: Value
    prefill_eff: Value
    attention_compute_eff: Value
    link_eff: Value
    step_s: Value
    layer_s: Value
    moe_layer_s: Value
    mixed_layer_s: Value
    sequence_s: Value
    link_latency_s: Value
    first_token_s: Value
    sharpness: Value
    expert_imbalance: Value
    expert_skew: Value
    chunk_share: Value
    prefill_share: Value
    step_share: Value
    burst_share: Value
