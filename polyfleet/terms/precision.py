"""Number formats: how many bytes a value takes, and in which format a chip computes with it."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """A format of stored weights or KV values. `bf16` also stands for fp16: the same bytes and, on every chip here
    that has both, the same rate."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    MXFP8 = "mxfp8"
    INT8 = "int8"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"
    INT4 = "int4"

    @property
    def bytes_per_value(self) -> float:
        """Bytes a stored value takes, block scales included.

        Scales: MX formats one byte per 32 values (OCP Microscaling v1.0), NVFP4 one byte per 16 (NVIDIA Blackwell
        documentation), INT4 two bytes per 128 (the usual AWQ / GPTQ group size).
        """
        return _BYTES[self]

    @property
    def compute(self) -> str:
        """The column of the chip table whose rate applies where the chip has it: bf16, fp8, int8 or fp4."""
        return _COMPUTE[self]


_BYTES = {
    Precision.FP32: 4.0,
    Precision.BF16: 2.0,
    Precision.FP8: 1.0,
    Precision.MXFP8: 1.0 + 1 / 32,
    Precision.INT8: 1.0,
    Precision.NVFP4: 0.5 + 1 / 16,
    Precision.MXFP4: 0.5 + 1 / 32,
    Precision.INT4: 0.5 + 2 / 128,
}
_COMPUTE = {
    Precision.FP32: "bf16",  # engines load fp32 checkpoints as bf16
    Precision.BF16: "bf16",
    Precision.FP8: "fp8",
    Precision.MXFP8: "fp8",
    Precision.INT8: "int8",
    Precision.NVFP4: "fp4",
    Precision.MXFP4: "fp4",
    Precision.INT4: "bf16",  # weight-only: unpacked to bf16 before the multiply
}
