from itertools import pairwise

import pytest

from polyfleet.catalog.chips import find_chip, load_chips
from polyfleet.catalog.fit import head_problem
from polyfleet.catalog.models import find_model, list_models
from polyfleet.catalog.recipes import builds_for, load_recipes, recipes_for, why_not
from polyfleet.terms.build import Build
from polyfleet.terms.footprint import weight_bytes
from polyfleet.terms.precision import Precision

BF16, FP8, NVFP4, MXFP4 = Precision.BF16, Precision.FP8, Precision.NVFP4, Precision.MXFP4
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"


def layouts(model: str, chip: str, precisions: list[Precision] | None, max_chips: int = 8) -> list[tuple[int, ...]]:
    """(tensor parallel, attention-DP, expert parallel) of every build, smallest first."""
    return [(b.tp, b.dp, b.ep) for b in builds_for(find_model(model), find_chip(chip), precisions, max_chips)]


@pytest.mark.parametrize(
    ("chip", "precision", "chips"),
    [  # 70.6 B parameters: 131 GiB in bf16, 66 GiB in fp8, against 0.9 of the memory less the reserve
        ("H100-SXM", BF16, [2, 4, 8]),
        ("H200-SXM", FP8, [1, 2, 4, 8]),
        ("H200-SXM", BF16, [2, 4, 8]),
        ("MI300X", BF16, [1, 2, 4, 8]),
        ("A100-SXM-40GB", BF16, [4, 8]),
        ("L40S", FP8, [2, 4, 8]),
        ("L4", FP8, [4, 8]),
        ("TPU-v6e", BF16, [8]),
    ],
)
def test_how_many_chips_a_70b_model_needs(chip: str, precision: Precision, chips: list[int]) -> None:
    assert [b.chips for b in builds_for(find_model(LLAMA_70B), find_chip(chip), [precision], 8)] == chips


def test_no_build_is_larger_than_the_instance() -> None:
    assert layouts(LLAMA_70B, "H100-SXM", [BF16], max_chips=2) == [(2, 1, 1)]
    assert layouts(LLAMA_70B, "H100-SXM", [BF16], max_chips=1) == []


def test_the_checkpoints_own_precision_is_the_default() -> None:
    (first, *_) = builds_for(find_model("openai/gpt-oss-120b"), find_chip("H100-SXM"), None, 1)
    assert first == Build("openai/gpt-oss-120b", "H100-SXM", 1, "vllm", MXFP4, BF16)


def test_fp8_weights_are_allowed_on_a100_and_fp4_of_nvidia_only_on_blackwell() -> None:
    model = find_model(LLAMA_70B)
    assert builds_for(model, find_chip("A100-SXM-80GB"), [FP8], 8)
    runs_nvfp4 = {c.name for c in load_chips().values() if builds_for(model, c, [NVFP4], 8)}
    assert runs_nvfp4 == {"B200", "B300", "GB200", "GB300", "RTX-PRO-6000"}


def test_mixtures_of_experts_are_laid_out_by_tensor_parallel_and_by_attention_dp() -> None:
    assert layouts("openai/gpt-oss-120b", "H100-SXM", None, 4) == [
        (1, 1, 1),
        (1, 2, 2),
        (2, 1, 1),
        (1, 4, 4),
        (4, 1, 1),
    ]
    assert all(dp == 1 for _, dp, _ in layouts(LLAMA_70B, "H100-SXM", [BF16]))


def test_fp8_experts_whose_blocks_would_be_cut_are_spread_whole() -> None:
    """Experts of 1,536 columns in blocks of 128: four chips cut none, eight would cut one in two."""
    assert (4, 1, 1) in layouts("Qwen/Qwen3-235B-A22B-FP8", "H100-SXM", None)
    assert (8, 1, 8) in layouts("Qwen/Qwen3-235B-A22B-FP8", "H100-SXM", None)
    assert (8, 1, 1) not in layouts("Qwen/Qwen3-235B-A22B-FP8", "H100-SXM", None)


def test_deepseek_fits_eight_h200_but_not_eight_h100() -> None:
    """671 B parameters in fp8 are some 626 GiB; eight H100 have 640 GiB in all."""
    assert (8, 1, 1) in layouts("deepseek-ai/DeepSeek-V3", "H200-SXM", None)
    assert layouts("deepseek-ai/DeepSeek-V3", "H100-SXM", None) == []
    told = why_not(find_model("deepseek-ai/DeepSeek-V3"), find_chip("H100-SXM"), None, 8)
    assert "GiB of fp8 weights" in told
    assert "70.0 GiB are usable" in told


def test_heads_are_split_over_devices_not_chips() -> None:
    """Llama-3.1-8B has 32 heads: TPU v7 counts two devices a chip, Trainium2 four and pads 40 heads to 64."""
    small, odd = find_model("meta-llama/Llama-3.1-8B-Instruct"), find_model("meta-llama/Llama-2-13b-hf")
    assert [b.chips for b in builds_for(small, find_chip("Trainium2"), [BF16], 16)] == [1, 2, 4, 8]
    assert [b.chips for b in builds_for(odd, find_chip("Trainium2"), [BF16], 16)] == [1, 2, 4, 8, 16]
    assert [b.chips for b in builds_for(odd, find_chip("H100-SXM"), [BF16], 16)] == [1, 2, 4, 8]
    assert head_problem(odd, 16, "divide") == "40 attention heads do not divide over 16 devices"
    assert head_problem(find_model("Qwen/Qwen3-32B"), 12, "divide").startswith("64 attention heads do not divide")


@pytest.mark.parametrize(
    ("model", "chip", "reason"),
    [
        (LLAMA_70B, "TPU-v4", "no recipe"),
        (LLAMA_70B, "Qualcomm-AI100-Standard", "no recipe"),
        ("openai/gpt-oss-120b", "T4", "mixtures of experts"),
        ("openai/gpt-oss-120b", "MI250", "no kernels for mxfp4"),
        ("deepseek-ai/DeepSeek-V3", "Trainium2", "no kernels for mla attention"),
        (LLAMA_70B, "T4", "GiB are usable"),
    ],
)
def test_why_nothing_runs_is_told(model: str, chip: str, reason: str) -> None:
    assert builds_for(find_model(model), find_chip(chip), None, 8) == ()
    assert reason in why_not(find_model(model), find_chip(chip), None, 8)


def test_the_kv_cache_keeps_the_checkpoints_format_unless_asked() -> None:
    model, chip = find_model(LLAMA_70B), find_chip("H200-SXM")
    assert {b.kv_precision for b in builds_for(model, chip, [FP8], 8)} == {BF16}
    assert {b.kv_precision for b in builds_for(model, chip, [FP8], 8, kv_precisions=[FP8])} == {FP8}
    assert builds_for(model, find_chip("A100-SXM-80GB"), [BF16], 8, kv_precisions=[FP8]) == ()
    assert "fp8 KV" in why_not(model, find_chip("A100-SXM-80GB"), [BF16], 8, kv_precisions=[FP8])


def test_other_engines_are_used_when_named() -> None:
    model, chip = find_model(LLAMA_70B), find_chip("H100-SXM")
    assert {b.engine for b in builds_for(model, chip, [FP8], 8)} == {"vllm"}
    named = builds_for(model, chip, [FP8], 8, engines=["sglang", "tensorrt-llm"])
    assert {b.engine for b in named} == {"sglang", "tensorrt-llm"}
    assert "no recipe for this chip with nosuch" in why_not(model, chip, [FP8], 8, engines=["nosuch"])


@pytest.mark.parametrize("name", list_models())
def test_every_build_keeps_every_limit(name: str) -> None:
    """An independent check: weights fit the chips' whole memory, heads divide, the recipe holds precision and count."""
    model = find_model(name)
    for chip in load_chips().values():
        builds = builds_for(model, chip, None, 8)
        assert bool(builds) != bool(why_not(model, chip, None, 8))
        for build in builds:
            (recipe,) = [r for r in recipes_for(chip) if r.engine == build.engine]
            assert build.precision in recipe.precisions
            assert build.chips <= min(8, recipe.max_chips)
            assert weight_bytes(model, build.precision) < build.chips * chip.memory_gib * 2**30
            if recipe.head_rule == "divide":
                heads = [g.attention.heads for g in model.groups if g.attention.kind != "none"]
                assert all(h % (build.tp * chip.cores) == 0 for h in heads)


def test_a_larger_instance_never_loses_a_build() -> None:
    for name in (LLAMA_70B, "openai/gpt-oss-120b", "Qwen/Qwen3-32B"):
        for chip in load_chips().values():
            grown = [set(builds_for(find_model(name), chip, None, n)) for n in (1, 2, 4, 8, 16)]
            assert all(small <= large for small, large in pairwise(grown))


def test_every_chip_has_one_default_recipe_at_most() -> None:
    assert all(len(recipes_for(chip)) <= 1 for chip in load_chips().values())
    assert {r.family for r in load_recipes()} <= {c.family for c in load_chips().values()}
    for recipe in load_recipes():
        assert max(recipe.tensor_parallel) == recipe.max_chips
        assert 0.5 < recipe.memory_fraction < 1
        assert recipe.source
        assert recipe.as_of
