"""What fits beside the weights."""

from __future__ import annotations

import numpy as np

from polyfleet.speed.shape import Floats, Shape, Value

USABLE = 0.90
"""Share of a chip's memory that engines give to weights and cache (vLLM's `gpu_memory_utilization` default is 0.9)."""

RESERVED_BYTES = 1.5e9
"""Activations, graphs and communication buffers of one chip (assumed)."""


def held_bytes(shape: Shape, tokens: Value) -> Floats:
    """Cache bytes on one chip of a sequence that has grown to `tokens` tokens."""
    full = shape.held_full_bytes * np.asarray(tokens, dtype=np.float64)
    return np.asarray(full + shape.held_capped_bytes * np.minimum(tokens, shape.held_span) + shape.held_state_bytes)


def free_bytes(shape: Shape) -> Floats:
    """Memory of one chip left for cache; negative where the weights do not fit."""
    return np.asarray(shape.budget_bytes * USABLE - RESERVED_BYTES - np.asarray(shape.weight_bytes))


def sequences_held(shape: Shape, tokens: Value) -> Floats:
    """Sequences of `tokens` tokens that a replica's memory holds at once (not whole; 0 where none)."""
    per_chip = np.maximum(free_bytes(shape), 0.0) / np.maximum(held_bytes(shape, tokens), 1.0)
    return np.asarray(per_chip * shape.dp)
