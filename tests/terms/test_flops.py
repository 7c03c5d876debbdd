"""FLOPs against closed forms and against sums taken token by token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.catalog.models import find_model, list_models
from polyfleet.terms.flops import decode_flops_per_token, gemm_flops_per_token, prefill_flops


def test_dense_decode_in_closed_form() -> None:
    """Llama 3.1 8B: 2 FLOPs for each weight but the lookup; 4 x 32 heads x 128 x context in each of 32 layers."""
    model = find_model("meta-llama/Llama-3.1-8B")
    layer = 4096 * 128 * (32 + 8 + 8 + 32) + 3 * 4096 * 14336 + 2 * 4096
    gemm = 2 * (32 * layer + 128256 * 4096)
    assert gemm_flops_per_token(model) == gemm
    assert decode_flops_per_token(model, 2000.0) == gemm + 32 * 4 * 32 * 128 * 2000


def test_dense_prefill_in_closed_form() -> None:
    """n tokens, causal half of the attention square, logits of the last token only."""
    model = find_model("meta-llama/Llama-3.1-8B")
    n = 1500
    body = gemm_flops_per_token(model, head=False)
    attention = 32 * 4 * 32 * 128 * n * (n + 1) / 2
    assert prefill_flops(model, float(n)) == n * body + 2 * 128256 * 4096 + attention


def test_tied_head_is_multiplied_though_it_is_not_stored_twice() -> None:
    model = find_model("meta-llama/Llama-3.2-1B-Instruct")
    assert model.head_params == 0
    assert gemm_flops_per_token(model) - gemm_flops_per_token(model, head=False) == 2 * 128256 * 2048


def test_moe_multiplies_active_experts_only() -> None:
    """Mixtral: 12.9 B active of 46.7 B; 2 FLOPs each but the lookup and its final norm."""
    model = find_model("mistralai/Mixtral-8x7B-v0.1")
    assert gemm_flops_per_token(model) == 2 * (model.active_params - model.embedding_params)


def test_latent_attention_decodes_absorbed_and_prefills_unpacked() -> None:
    """DeepSeek-V3: decode pairs cost 2 x 128 x (576 + 512), prefill pairs 2 x 128 x (192 + 128)."""
    model = find_model("deepseek-ai/DeepSeek-V3")
    decode = decode_flops_per_token(model, 1001.0) - decode_flops_per_token(model, 1000.0)
    assert decode == pytest.approx(61 * 2 * 128 * (576 + 512))
    n = 4096
    attention = prefill_flops(model, float(n)) - n * gemm_flops_per_token(model, head=False) - 2 * 129280 * 7168
    assert attention == pytest.approx(61 * 2 * 128 * 320 * n * (n + 1) / 2, rel=1e-9)


def test_window_layers_stop_growing_at_the_window() -> None:
    """gpt-oss-120b: beyond 128 tokens only 18 of 36 layers pay 4 x 64 heads x 64 for each further token."""
    model = find_model("openai/gpt-oss-120b")
    inside = decode_flops_per_token(model, 101.0) - decode_flops_per_token(model, 100.0)
    beyond = decode_flops_per_token(model, 1001.0) - decode_flops_per_token(model, 1000.0)
    assert (inside, beyond) == (36 * 4 * 64 * 64, 18 * 4 * 64 * 64)


def test_sparse_layers_pay_the_indexer_only_beyond_their_choice() -> None:
    """DeepSeek-V3.2 beyond 2,048 tokens: 2 x 64 heads x 128 for each further token and layer."""
    model = find_model("deepseek-ai/DeepSeek-V3.2")
    beyond = decode_flops_per_token(model, 50_001.0) - decode_flops_per_token(model, 50_000.0)
    assert beyond == pytest.approx(61 * 2 * 64 * 128)


def test_fixed_state_costs_the_same_at_every_context() -> None:
    model = find_model("Qwen/Qwen3.5-397B-A17B")
    slope = decode_flops_per_token(model, 10_001.0) - decode_flops_per_token(model, 10_000.0)
    assert slope == pytest.approx(15 * 4 * 32 * 256)
    assert decode_flops_per_token(model, 0.0) > gemm_flops_per_token(model)


CAPPED = ("openai/gpt-oss-20b", "google/gemma-3-27b-it", "deepseek-ai/DeepSeek-V3.2", "deepseek-ai/DeepSeek-V4-Flash",
          "MiniMaxAI/MiniMax-M3", "Qwen/Qwen3.5-27B", "meta-llama/Llama-3.1-8B")  # fmt: skip


@pytest.mark.parametrize("name", CAPPED)
def test_prefill_is_the_sum_of_decode_steps(name: str) -> None:
    """Where prefill and decode use the same form of attention, reading n tokens costs n decode steps less the logits
    of all but the last. Pooling reads whole entries, hence 0.1 %."""
    model = find_model(name)
    n = 5000
    steps = decode_flops_per_token(model, np.arange(1.0, n + 1)).sum()
    logits = 2 * model.vocab_size * model.hidden_size * (n - 1)
    assert prefill_flops(model, float(n)) == pytest.approx(steps - logits, rel=1e-3)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list_models()),
    tokens=st.integers(1, 200_000),
    cached=st.integers(0, 200_000),
    more=st.integers(1, 999),
)
def test_cached_prefix_splits_the_work_exactly(name: str, tokens: int, cached: int, more: int) -> None:
    """Reading a prompt at once equals reading its start, then the rest with the start cached (logits counted twice)."""
    model = find_model(name)
    cached = min(cached, tokens - 1)
    logits = 2.0 * model.vocab_size * model.hidden_size
    whole = prefill_flops(model, float(tokens))
    rest = prefill_flops(model, float(tokens), float(cached))
    start = prefill_flops(model, float(cached)) if cached else logits
    assert start + rest - logits == pytest.approx(whole, rel=1e-9)
    assert prefill_flops(model, float(tokens + more)) > whole


def test_a_wholly_cached_prompt_costs_nothing() -> None:
    assert prefill_flops(find_model("meta-llama/Llama-3.1-8B"), 512.0, 512.0) == 0


def test_arrays_agree_with_numbers() -> None:
    model = find_model("deepseek-ai/DeepSeek-V4-Pro")
    tokens = np.array([1.0, 200.0, 90_000.0])
    for i, n in enumerate(tokens):
        assert decode_flops_per_token(model, tokens)[i] == decode_flops_per_token(model, float(n))
        assert prefill_flops(model, tokens)[i] == prefill_flops(model, float(n))
        assert prefill_flops(model, tokens, tokens / 2)[i] == prefill_flops(model, float(n), float(n) / 2)
