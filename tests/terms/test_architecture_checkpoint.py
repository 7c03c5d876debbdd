"""Quantisation configs as publishers write them, and the formats polyfleet takes from them."""

from __future__ import annotations

from typing import Any

import pytest

from polyfleet.errors import ModelError
from polyfleet.terms.architecture import model_from_config
from polyfleet.terms.model import Checkpoint
from polyfleet.terms.precision import Precision

DENSE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
}
MOE: dict[str, Any] = {
    "architectures": ["MixtralForCausalLM"],
    **{key: value for key, value in DENSE.items() if key != "architectures"},
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
LATENT_MOE: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "vocab_size": 100,
}
NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4"}


def stored(config: dict[str, Any], quantisation: dict[str, Any] | None) -> Checkpoint:
    return model_from_config({**config, "quantization_config": quantisation}, name="test").checkpoint


def group(kind: str, bits: int, size: int | None = None, targets: list[str] | None = None) -> dict[str, Any]:
    weights: dict[str, Any] = {"type": kind, "num_bits": bits}
    if size:
        weights["group_size"] = size
    return {"weights": weights, "targets": targets or ["Linear"]}


def compressed(**weights: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group(**weights)}}


@pytest.mark.parametrize(
    ("quantisation", "precision"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, Precision.FP8),
        ({"quant_method": "fbgemm_fp8"}, Precision.FP8),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, Precision.FP8),
        ({"quant_algo": "FP8", "producer": {"name": "modelopt"}}, Precision.FP8),
        (NVFP4, Precision.NVFP4),
        ({"quant_method": "mxfp8"}, Precision.MXFP8),
        ({"quant_method": "awq", "bits": 4}, Precision.INT4),
        ({"quant_method": "gptq", "bits": 8}, Precision.INT8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, Precision.INT8),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}}, Precision.MXFP4),
        (compressed(kind="float", bits=8), Precision.FP8),
        (compressed(kind="int", bits=8), Precision.INT8),
        (compressed(kind="int", bits=4), Precision.INT4),
        (compressed(kind="float", bits=4, size=16), Precision.NVFP4),
        (compressed(kind="float", bits=4, size=32), Precision.MXFP4),
    ],
)
def test_method_names_the_precision_of_all_linear_layers(quantisation: dict[str, Any], precision: Precision) -> None:
    assert stored(DENSE, quantisation) == Checkpoint(precision, True, True, False)
    assert stored(MOE, quantisation) == Checkpoint(precision, True, True, True)


def test_no_quantisation_is_bf16() -> None:
    assert stored(DENSE, None) == Checkpoint(Precision.BF16)


@pytest.mark.parametrize(
    ("quantisation", "bytes_per_value"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 0.5 + 2 / 128),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, 0.5 + 2 / 64),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 0.0),
        ({"quant_method": "awq", "bits": 4}, 0.0),
    ],
)
def test_stated_group_size_sets_the_bytes_of_int4(quantisation: dict[str, Any], bytes_per_value: float) -> None:
    assert stored(DENSE, quantisation).bytes_per_value == bytes_per_value


def test_mxfp4_method_quantises_experts_only() -> None:
    assert stored(MOE, {"quant_method": "mxfp4"}) == Checkpoint(Precision.MXFP4, False, False, True)


def test_four_bit_latent_moe_keeps_its_attention() -> None:
    assert stored(LATENT_MOE, NVFP4) == Checkpoint(Precision.NVFP4, False, True, True)
    int4 = compressed(kind="int", bits=4, size=32)
    assert stored(LATENT_MOE, int4) == Checkpoint(Precision.INT4, False, False, True, bytes_per_value=0.5625)


def test_block_fp8_latent_moe_quantises_its_attention() -> None:
    assert stored(LATENT_MOE, {"quant_method": "fp8"}) == Checkpoint(Precision.FP8, True, True, True)


@pytest.mark.parametrize(
    ("kept", "attention"),
    [
        (["lm_head", "*self_attn*"], False),
        (["re:.*self_attn.*"], False),
        ([f"model.layers.{i}.self_attn.q_proj" for i in range(4)], False),
        (["model.layers.0.self_attn", "lm_head"], True),  # one layer of four
        ([f"model.layers.{i}.self_attn.o_proj" for i in range(4)], True),
        (["visual.blocks.0.attn", "lm_head"], True),
        ([f"model.layers.{i}.linear_attn.in_proj_b" for i in range(4)], True),
    ],
)
def test_modules_left_alone_count_when_they_cover_most_layers(kept: list[str], attention: bool) -> None:
    found = stored(DENSE, {**NVFP4, "ignore": kept})
    assert found.attention_quantised is attention
    assert found.dense_quantised


def test_cache_scheme_sets_the_cache_precision() -> None:
    by_group = {**NVFP4, "kv_cache_scheme": {"type": "float", "num_bits": 8, "dynamic": False}}
    by_name = {**NVFP4, "kv_cache_quant_algo": "FP8"}
    assert stored(DENSE, by_group).kv_precision is Precision.FP8
    assert stored(DENSE, by_name).kv_precision is Precision.FP8
    assert stored(DENSE, NVFP4).kv_precision is Precision.BF16


def test_mixed_precision_is_read_part_by_part() -> None:
    mixed = {
        "quant_method": "modelopt",
        "quant_algo": "MIXED_PRECISION",
        "config_groups": {
            "group_0": group("float", 8, targets=["model.layers.0.self_attn.q_proj"]),
            "group_1": group("float", 4, 16, targets=["lm_head", "model.layers.0.mlp.up_proj"]),
        },
    }
    expected = Checkpoint(Precision.NVFP4, False, True, False, rest_precision=Precision.FP8, head_quantised=True)
    assert stored(DENSE, mixed) == expected


def test_mixed_precision_that_names_no_parts_is_refused() -> None:
    with pytest.raises(ModelError, match="mixes formats"):
        stored(DENSE, {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"})


def test_fp4_experts_beside_fp8_rest() -> None:
    config = {**LATENT_MOE, "expert_dtype": "fp4"}
    expected = Checkpoint(Precision.MXFP4, experts_quantised=True, rest_precision=Precision.FP8)
    assert stored(config, {"quant_method": "fp8"}) == expected


@pytest.mark.parametrize(
    "quantisation",
    [
        {"quant_method": "unheard-of"},
        {"quant_method": 7},
        {"quant_method": "gptq", "bits": 3},
        {"quant_algo": "FP3"},
        compressed(kind="int", bits=5),
        {"quant_method": "compressed-tensors", "config_groups": {}},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp2"}}},
        {**NVFP4, "kv_cache_scheme": 8},
        {**NVFP4, "ignore": [1, 2]},
    ],
)
def test_unknown_quantisation_is_refused(quantisation: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="quantization_config"):
        stored(DENSE, quantisation)
