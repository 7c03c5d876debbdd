"""Small hand-made models and chips, whose loads can be counted on paper."""

from __future__ import annotations

from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Attention, Checkpoint, Ffn, LayerGroup, Model
from polyfleet.terms.precision import Precision


def a_model(*, experts: int = 0, kind: str = "gqa", kv_heads: int = 8, name: str = "toy/model") -> Model:
    """10 layers of width 1,024: 4 M attention and 16 M dense (or experts of 2 M) parameters a layer."""
    latent = kind == "mla"
    attention = Attention(
        kind="mla" if latent else "gqa", heads=16, kv_heads=1 if latent else kv_heads, head_dim=64, value_dim=64,
        params=4_000_000, cached_values_per_token=576 if latent else kv_heads * 128, latent_dim=512 if latent else 0,
    )  # fmt: skip
    ffn = Ffn(shared_params=0, experts=experts, experts_per_token=2, expert_params=2_000_000) if experts else None
    return Model(
        name=name, architecture="Toy", hidden_size=1024, vocab_size=32_000,
        groups=(LayerGroup(10, attention, ffn or Ffn(shared_params=16_000_000)),),
        embedding_params=32_768_000, head_params=32_768_000, checkpoint=Checkpoint(Precision.BF16),
        max_context_tokens=131_072,
    )  # fmt: skip


def a_chip(**changes: object) -> Chip:
    """80 GiB, 2,000 GB/s, 500 TFLOPS bf16, 400 GB/s links, of a family without rows."""
    facts: dict[str, object] = {
        "name": "toy", "vendor": "toy", "family": "toy", "memory_gib": 80.0, "bandwidth_gb_s": 2000.0,
        "tflops": {"bf16": 500.0, "fp8": 1000.0}, "link_name": "Fabric", "link_gb_s": 400.0, "domain_chips": 8,
        "cores": 1, "year": 2025, "engines": ("vllm",), "source": "made up", "as_of": "2026-01-01", "verified": False,
    }  # fmt: skip
    return Chip(**(facts | changes))  # type: ignore[arg-type]


def a_build(**changes: object) -> Build:
    facts: dict[str, object] = {
        "model": "toy/model", "chip": "toy", "tp": 1, "engine": "vllm", "precision": Precision.BF16,
        "kv_precision": Precision.BF16,
    }  # fmt: skip
    return Build(**(facts | changes))  # type: ignore[arg-type]
