"""Weight, cache and state bytes, against hand calculation and published checkpoint sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.catalog.models import find_model, list_models
from polyfleet.terms.footprint import decode_kv_bytes, kv_bytes, kv_bytes_per_token, part_formats, weight_bytes
from polyfleet.terms.precision import Precision

GIB = 2**30
BF16, FP8 = Precision.BF16, Precision.FP8


def test_gqa_cache_by_hand() -> None:
    """Llama 3.1 70B: 80 layers x 8 KV heads x (128 + 128) x 2 bytes = 320 KiB a token."""
    model = find_model("meta-llama/Llama-3.1-70B-Instruct")
    assert kv_bytes_per_token(model, BF16) == 80 * 8 * 256 * 2 == 320 * 1024
    assert kv_bytes(model, 1000.0, FP8) == 160 * 1024 * 1000


def test_mla_cache_by_hand() -> None:
    """DeepSeek-V3: 61 layers x (512 latent + 64 rope) x 2 bytes = 70,272 bytes a token (arXiv 2412.19437: 70 KB)."""
    assert kv_bytes_per_token(find_model("deepseek-ai/DeepSeek-V3"), BF16) == 61 * 576 * 2 == 70_272


def test_sparse_indexer_adds_its_keys_to_the_cache() -> None:
    v3, v32 = find_model("deepseek-ai/DeepSeek-V3"), find_model("deepseek-ai/DeepSeek-V3.2")
    assert kv_bytes_per_token(v32, FP8) - kv_bytes_per_token(v3, FP8) == 61 * 128


def test_layers_that_share_an_indexer_keep_no_keys() -> None:
    own, shared = find_model("zai-org/GLM-5"), find_model("zai-org/GLM-5.2")
    assert kv_bytes_per_token(own, FP8) == 78 * (576 + 128)
    assert kv_bytes_per_token(shared, FP8) == 78 * 576 + 21 * 128


def test_window_caps_the_cache_of_half_the_layers() -> None:
    """gpt-oss-120b: 36 layers of 8 KV heads x 64, every second one within 128 tokens."""
    model = find_model("openai/gpt-oss-120b")
    per_layer = 8 * 128 * 2
    assert kv_bytes(model, 100.0, BF16) == 36 * per_layer * 100
    assert kv_bytes(model, 10_000.0, BF16) == 18 * per_layer * 10_000 + 18 * per_layer * 128


def test_hybrid_keeps_a_state_beside_its_full_layers() -> None:
    """Qwen3.5-397B: 15 full layers of 2 KV heads x 256; 45 delta-net layers keep 64 x 128 x 128 numbers in fp32 and
    3 inputs of a convolution over 2 x 16 x 128 + 64 x 128 channels in bf16."""
    model = find_model("Qwen/Qwen3.5-397B-A17B")
    state = 45 * (64 * 128 * 128 * 4 + 3 * (2 * 16 * 128 + 64 * 128) * 2)
    assert kv_bytes(model, 0.0, BF16) == state
    assert kv_bytes(model, 5000.0, BF16) == state + 15 * 2 * 512 * 2 * 5000


def test_mamba_state_by_hand() -> None:
    """Nemotron 3 Nano: 23 Mamba blocks of 64 heads x 64 x 128 in fp32, convolution over 64 x 64 + 2 x 8 x 128."""
    model = find_model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
    state = 23 * (64 * 64 * 128 * 4 + 3 * (64 * 64 + 2 * 8 * 128) * 2)
    assert kv_bytes(model, 0.0, BF16) == state
    assert kv_bytes_per_token(model, BF16) == 6 * 2 * 256 * 2


def test_pooled_cache_by_hand() -> None:
    """DeepSeek-V4-Flash: 2 window layers, 21 pooled by 4 with index keys, 20 pooled by 128; a window of 128 in all."""
    model = find_model("deepseek-ai/DeepSeek-V4-Flash")
    context = 128_000.0
    pooled = 21 * (512 + 128) * context / 4 + 20 * 512 * context / 128
    assert kv_bytes(model, context, FP8) == pytest.approx(43 * 128 * 512 + pooled, rel=1e-12)


def test_engines_default_of_an_fp8_cache_is_the_checkpoints() -> None:
    assert find_model("deepseek-ai/DeepSeek-V4-Pro").checkpoint.kv_precision is FP8
    assert find_model("deepseek-ai/DeepSeek-V3.2").checkpoint.kv_precision is BF16


def test_decode_reads_only_what_sparse_attention_chose() -> None:
    model = find_model("deepseek-ai/DeepSeek-V3.2")
    assert decode_kv_bytes(model, 100_000.0, FP8) == 61 * (2048 * 576 + 100_000 * 128)
    assert decode_kv_bytes(model, 1_000.0, FP8) == kv_bytes(model, 1_000.0, FP8)


def test_decode_reads_and_writes_the_state() -> None:
    model = find_model("Qwen/Qwen3.5-397B-A17B")
    assert decode_kv_bytes(model, 0.0, BF16) == 2 * kv_bytes(model, 0.0, BF16)


def test_dense_decode_reads_all_it_keeps() -> None:
    model = find_model("meta-llama/Llama-3.1-8B")
    contexts = np.array([1.0, 100.0, 131_072.0])
    np.testing.assert_array_equal(decode_kv_bytes(model, contexts, BF16), kv_bytes(model, contexts, BF16))


@pytest.mark.parametrize(
    ("name", "gib"),
    [("openai/gpt-oss-120b", 60.8), ("openai/gpt-oss-20b", 12.8)],
)
def test_mxfp4_checkpoint_has_its_published_size(name: str, gib: float) -> None:
    """Sizes from arXiv 2508.10925, table 1."""
    assert weight_bytes(find_model(name), Precision.MXFP4) / GIB == pytest.approx(gib, rel=0.005)


def test_int4_groups_of_the_checkpoint_count() -> None:
    """Moonshot states about 594 GB for the INT4 checkpoint of this architecture (Kimi-K2-Thinking model card): groups
    of 32 take 0.5625 bytes a value, not the 0.516 of groups of 128."""
    assert weight_bytes(find_model("moonshotai/Kimi-K2.5"), Precision.INT4) == pytest.approx(594e9, rel=0.005)


def test_bf16_weights_take_two_bytes_each() -> None:
    for name in list_models():
        model = find_model(name)
        assert weight_bytes(model, BF16) == 2 * model.total_params


def test_fp8_llama_keeps_its_tables_in_bf16() -> None:
    model = find_model("nvidia/Llama-3.1-8B-Instruct-FP8")
    tables = 2 * 128256 * 4096 + 4096
    norms = 32 * 2 * 4096
    assert weight_bytes(model, FP8) == model.total_params + tables + norms


def test_engine_quantisation_of_a_bf16_checkpoint_equals_the_published_fp8_one() -> None:
    plain, stored = find_model("Qwen/Qwen3-235B-A22B"), find_model("Qwen/Qwen3-235B-A22B-FP8")
    assert weight_bytes(plain, FP8) == weight_bytes(stored, FP8)


def test_mixed_checkpoint_keeps_each_part_in_its_format() -> None:
    formats = part_formats(find_model("deepseek-ai/DeepSeek-V4-Pro"), Precision.MXFP4)
    assert (formats.attention, formats.dense, formats.experts, formats.head) == (FP8, FP8, Precision.MXFP4, BF16)


def test_fp4_of_a_moe_leaves_attention_alone() -> None:
    formats = part_formats(find_model("Qwen/Qwen3-30B-A3B"), Precision.NVFP4)
    assert (formats.attention, formats.dense, formats.experts) == (BF16, Precision.NVFP4, Precision.NVFP4)


def test_unpacking_an_fp4_checkpoint_to_fp8_touches_only_its_quantised_parts() -> None:
    formats = part_formats(find_model("openai/gpt-oss-120b"), FP8)
    assert (formats.attention, formats.experts) == (BF16, FP8)


@pytest.mark.parametrize("name", list_models())
def test_lower_precision_never_takes_more_bytes(name: str) -> None:
    model = find_model(name)
    ladder = [weight_bytes(model, p) for p in (Precision.FP32, BF16, FP8, Precision.NVFP4, Precision.MXFP4)]
    assert ladder[0] >= ladder[1] >= ladder[2] >= ladder[3] > 0
    assert ladder[3] >= ladder[4] * 0.9


@given(name=st.sampled_from(list_models()), context=st.lists(st.floats(0, 2e6), min_size=1, max_size=5))
def test_cache_grows_with_context_and_arrays_agree_with_numbers(name: str, context: list[float]) -> None:
    model = find_model(name)
    contexts = np.sort(np.array(context))
    kept = kv_bytes(model, contexts, BF16)
    read = decode_kv_bytes(model, contexts, BF16)
    assert (np.diff(kept) >= 0).all()
    assert (np.diff(read) >= 0).all()
    assert kept[0] == kv_bytes(model, float(contexts[0]), BF16)
    assert read[-1] == decode_kv_bytes(model, float(contexts[-1]), BF16)
