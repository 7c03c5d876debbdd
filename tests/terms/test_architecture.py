"""Parameter counts of every family, against what publishers state and what the reference implementation builds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from polyfleet.catalog.models import find_model, list_models
from polyfleet.catalog.reading import TABLES, read_table
from polyfleet.errors import ModelError
from polyfleet.terms.architecture import known_architectures, model_from_config
from polyfleet.terms.model import Model

PUBLISHED = read_table("models/published.csv")
with (Path(__file__).parent / "reference_counts.csv").open(encoding="utf-8", newline="") as _file:
    REFERENCE = [(row["name"], int(row["parameters"])) for row in csv.DictReader(_file)]
# One reference row more than these would be needed if a family had none: transformers knows no class for them, or
# builds them from a config of another form. They stand on their published figures.
NO_REFERENCE = {
    "BailingMoeV2_5ForCausalLM",
    "DeciLMForCausalLM",
    "KimiK3ForConditionalGeneration",
    "KimiLinearForCausalLM",
    "MiMoForCausalLM",
    "MiMoV2ForCausalLM",
    "MiniMaxM3ForCausalLM",
    "MiniMaxM3SparseForConditionalGeneration",
    "QWenLMHeadModel",
}


def packaged_config(name: str) -> dict[str, Any]:
    path = TABLES / "models" / "configs" / f"{name.replace('/', '--')}.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def figure(text: str) -> tuple[float, float]:
    """'37B' -> (37e9, one unit of its last digit)."""
    unit = {"B": 1e9, "T": 1e12}[text[-1]]
    decimals = len(text[:-1].partition(".")[2])
    return float(text[:-1]) * unit, unit / 10**decimals


def active_as_counted(model: Model, convention: str) -> int:
    """Active parameters by the publisher's convention: with both tables, without the lookup, without both."""
    left_out = {"all": 0, "no_lookup": model.embedding_params, "no_tables": model.embedding_params + model.head_params}
    return model.active_params - left_out[convention]


@pytest.mark.parametrize(("name", "parameters"), REFERENCE)
def test_counts_equal_the_reference_implementation(name: str, parameters: int) -> None:
    assert find_model(name).total_params == parameters


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["name"])
def test_total_is_the_published_one(row: dict[str, str]) -> None:
    """Within 1.5 %, or one unit of the last digit where fewer digits are published."""
    stated, unit = figure(row["total"])
    assert find_model(row["name"]).total_params == pytest.approx(stated, abs=max(0.015 * stated, unit))


@pytest.mark.parametrize("row", [r for r in PUBLISHED if r["active"]], ids=lambda row: row["name"])
def test_active_is_the_published_one(row: dict[str, str]) -> None:
    stated, unit = figure(row["active"])
    counted = active_as_counted(find_model(row["name"]), row["active_counts"])
    assert counted == pytest.approx(stated, abs=max(0.015 * stated, unit))


def test_every_packaged_architecture_has_a_published_figure() -> None:
    with_figure = {find_model(row["name"]).architecture for row in PUBLISHED}
    shares_a_reader = {
        "DeepseekV32ForCausalLM": "deepseek-ai/DeepSeek-V3.2",
        "KimiK25ForConditionalGeneration": "moonshotai/Kimi-K2.5",
        "MiMoForCausalLM": "XiaomiMiMo/MiMo-7B-Base",
        "MiniMaxM3SparseForConditionalGeneration": "nvidia/MiniMax-M3-NVFP4",
        "Qwen3VLForConditionalGeneration": "Qwen/Qwen3-VL-8B-Instruct",
        "Qwen3VLMoeForConditionalGeneration": "Qwen/Qwen3-VL-30B-A3B-Instruct",
    }
    assert {find_model(name).architecture for name in list_models()} == with_figure | set(shares_a_reader)


def test_every_architecture_has_a_reference_row_or_is_named_as_lacking_one() -> None:
    checked = {find_model(name).architecture for name, _ in REFERENCE}
    assert {find_model(name).architecture for name in list_models()} - checked == NO_REFERENCE


@pytest.mark.parametrize(
    ("architecture", "shape", "parameters"),
    [
        ("Phi3ForCausalLM", (3072, 8192, 32, 32, 32, 32064, False), 3_821_079_552),
        ("SmolLM3ForCausalLM", (2048, 11008, 36, 16, 4, 128256, True), 3_075_098_624),
        ("GraniteForCausalLM", (4096, 11008, 32, 32, 32, 32000, False), 6_738_415_616),
    ],
)
def test_families_without_a_packaged_model_equal_the_reference(
    architecture: str, shape: tuple[Any, ...], parameters: int
) -> None:
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    config = dict(zip((*keys, "vocab_size", "tie_word_embeddings"), shape, strict=True))
    assert model_from_config({**config, "architectures": [architecture]}, name="test").total_params == parameters


def test_sparse_layers_may_be_named_one_by_one() -> None:
    """GLM-4.7-Flash's form; the count is the reference implementation's for the same values."""
    config = {
        "architectures": ["Glm4MoeLiteForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 10240,
        "moe_intermediate_size": 1536,
        "num_hidden_layers": 47,
        "num_attention_heads": 20,
        "n_routed_experts": 64,
        "n_shared_experts": 1,
        "num_experts_per_tok": 4,
        "q_lora_rank": 768,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 192,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "vocab_size": 154880,
        "mlp_layer_types": ["dense"] + ["sparse"] * 46,
    }
    assert model_from_config(config, name="test").total_params == 29_943_393_920


def test_same_text_model_counts_the_same_in_every_wrapping() -> None:
    pairs = [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-VL-8B-Instruct"),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-VL-30B-A3B-Instruct"),
        ("moonshotai/Kimi-K2-Instruct", "moonshotai/Kimi-K2.5"),
        ("MiniMaxAI/MiniMax-M3", "nvidia/MiniMax-M3-NVFP4"),
    ]
    for plain, wrapped in pairs:
        assert find_model(plain).total_params == find_model(wrapped).total_params
        assert any("towers" in note for note in find_model(wrapped).notes)


def test_deepseek_v32_adds_only_its_indexers_to_v3() -> None:
    """Per layer: wq_b 1536 x 64 x 128, wk 7168 x 128, its LayerNorm 2 x 128, weights_proj 7168 x 64; 61 layers."""
    indexer = 1536 * 64 * 128 + 7168 * 128 + 2 * 128 + 7168 * 64
    v3, v32 = find_model("deepseek-ai/DeepSeek-V3"), find_model("deepseek-ai/DeepSeek-V3.2")
    assert v32.total_params - v3.total_params == 61 * indexer


def test_nas_model_has_layers_without_attention() -> None:
    model = find_model("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    without = sum(g.count for g in model.groups if g.attention.kind == "none")
    assert (model.layers, without) == (80, 31)


def test_hybrid_keeps_one_full_layer_in_four() -> None:
    model = find_model("Qwen/Qwen3.5-397B-A17B")
    kinds = {g.attention.kind: g.count for g in model.groups}
    assert kinds == {"linear": 45, "gqa": 15}


def test_unknown_architecture_is_refused_with_near_names() -> None:
    config = {**packaged_config("Qwen/Qwen3-8B"), "architectures": ["Qwen3FourCausalLM"]}
    with pytest.raises(ModelError, match="'Qwen3FourCausalLM' is not known") as caught:
        model_from_config(config, name="mine")
    assert "Qwen3ForCausalLM" in str(caught.value)


def test_known_model_type_does_not_make_up_for_an_unknown_architecture() -> None:
    config = {**packaged_config("Qwen/Qwen3-8B"), "architectures": ["Qwen3ForSequenceClassification"]}
    with pytest.raises(ModelError, match="is not known"):
        model_from_config(config, name="mine")


def test_model_type_stands_in_where_no_architecture_is_named() -> None:
    config = packaged_config("Qwen/Qwen3-8B")
    del config["architectures"]
    assert model_from_config(config, name="mine").architecture == "Qwen3ForCausalLM"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("num_hidden_layers", 0, "num_hidden_layers"),
        ("num_hidden_layers", None, "num_hidden_layers"),
        ("num_hidden_layers", 10**9, "num_hidden_layers"),
        ("hidden_size", "4096", "hidden_size"),
        ("hidden_size", float("nan"), "hidden_size"),
        ("hidden_size", True, "hidden_size"),
        ("hidden_size", -4096, "hidden_size"),
        ("intermediate_size", 2.5, "intermediate_size"),
        ("num_key_value_heads", 5, "num_key_value_heads"),
        ("vocab_size", 10**12, "vocab_size"),
        ("tie_word_embeddings", "no", "tie_word_embeddings"),
        ("quantization_config", {"quant_method": "magic"}, "quantization_config.quant_method"),
        ("quantization_config", 8, "quantization_config"),
        ("architectures", "Qwen3ForCausalLM", "architectures"),
    ],
)
def test_broken_value_is_refused_by_its_key(key: str, value: object, says: str) -> None:
    config = {**packaged_config("Qwen/Qwen3-8B"), key: value}
    with pytest.raises(ModelError) as caught:
        model_from_config(config, name="mine")
    assert f"'{says}'" in str(caught.value)


def test_more_experts_per_token_than_experts_is_refused() -> None:
    config = {**packaged_config("openai/gpt-oss-20b"), "num_experts_per_tok": 33}
    with pytest.raises(ModelError, match="more than the 32 experts"):
        model_from_config(config, name="mine")


def test_config_that_is_no_object_is_refused() -> None:
    with pytest.raises(ModelError, match="one object"):
        model_from_config([], name="mine")  # type: ignore[arg-type]


def test_known_architectures_are_sorted_and_unique() -> None:
    names = known_architectures()
    assert list(names) == sorted(set(names))
