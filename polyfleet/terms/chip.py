"""An accelerator as its datasheet states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """An accelerator.

    `tflops` maps a compute format (`bf16`, `fp8`, `fp4`, `int8`) to dense TFLOPS; a format that is absent is one the
    chip has no units for. `link_gb_s` is per direction and per chip, inside the scale-up domain of `domain_chips`.
    `cores` is how many devices of its own the vendor counts in one chip when it states a tensor-parallel degree
    (NeuronCores, logical cores, TensorCores).
    """

    name: str
    vendor: str
    family: str
    memory_gib: float
    bandwidth_gb_s: float
    tflops: Mapping[str, float]
    link_name: str
    link_gb_s: float
    domain_chips: int
    cores: int
    year: int
    engines: tuple[str, ...]
    source: str
    as_of: str
    verified: bool

    def rate_tflops(self, compute: str) -> float:
        """Dense TFLOPS for a compute format; where the chip lacks it, the rate of the format it falls back to."""
        for name in (compute, *_FALLBACK[compute]):
            if name in self.tflops:
                return self.tflops[name]
        raise KeyError(f"{self.name} states no rate for {compute}")


# What an engine runs instead where the chip has no units for a format: fp4 and fp8 weights are unpacked on the fly.
_FALLBACK = {"bf16": ("fp16",), "fp8": ("bf16", "fp16"), "fp4": ("fp8", "bf16", "fp16"), "int8": ("bf16", "fp16")}
