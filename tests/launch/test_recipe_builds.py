"""Every build that the plan may choose can be started, and what it may not choose cannot."""

import json
import shlex

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from recipe_cases import GPT_OSS, LLAMA_70B, QWEN_32B, parsed, recipe_of

from polyfleet.catalog.chips import find_chip, load_chips
from polyfleet.catalog.images import image_for
from polyfleet.catalog.models import find_model, list_models
from polyfleet.catalog.recipes import builds_for, load_recipes, recipes_for
from polyfleet.errors import UnservableError
from polyfleet.launch.recipes import Ask, fill_recipe
from polyfleet.launch.recipes.checkpoint import NoCheckpointError
from polyfleet.launch.recipes.docker import SECRETS, docker_line, docker_words
from polyfleet.terms.build import Build
from polyfleet.terms.precision import Precision

ENGINES = tuple({r.engine for r in load_recipes()})
CHIPS = [chip for chip in load_chips().values() if recipes_for(chip, ENGINES)]


@st.composite
def allowed_builds(draw):
    """A build of the catalog with its model and chip."""
    chip = draw(st.sampled_from(CHIPS))
    limits = draw(st.sampled_from(recipes_for(chip, ENGINES)))
    model = find_model(draw(st.sampled_from(list_models())))
    kv = draw(st.sampled_from(limits.kv_precisions))
    own = model.checkpoint.precision
    formats = tuple(dict.fromkeys((*((own,) if own in limits.precisions else ()), *limits.precisions)))
    precision = draw(st.sampled_from(formats))
    found = builds_for(model, chip, (precision,), limits.max_chips, engines=(limits.engine,), kv_precisions=(kv,))
    assume(found)
    return model, chip, draw(st.sampled_from(found))


def devices_of(flags):
    """Devices that a command asks for, by each engine's own way of counting."""
    if flags.tp_size:  # SGLang and TensorRT-LLM count those of attention-DP in
        return int(flags.tp_size) * int(flags.pp_size or 1)
    return int(flags.tensor_parallel_size) * int(flags.data_parallel_size or 1) * int(flags.pipeline_parallel_size or 1)


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(allowed_builds())
def test_every_build_of_the_catalog_has_a_command_that_parses_and_takes_all_its_devices(case):
    model, chip, build = case
    recipe = fill_recipe(model, chip, build, Ask(weights="org/checkpoint", names=("one", "two")))
    flags = parsed(recipe.command)
    assert devices_of(flags) == build.chips * chip.cores == recipe.devices
    assert not [part for part in recipe.command if "{model}" in part or "{slots}" in part or "{memory}" in part]
    for text in (flags.additional_config, flags.hf_overrides):
        assert text is None or json.loads(text)
    spread = flags.enable_expert_parallel or flags.ep_size is not None
    assert spread == (build.ep > 1)
    assert (
        4096 <= recipe.context_tokens <= model.max_context_tokens or recipe.context_tokens == model.max_context_tokens
    )
    assert shlex.split(docker_line(recipe)) == docker_words(recipe)


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(allowed_builds())
def test_published_weights_are_loaded_only_in_a_format_that_the_engine_can_make_of_them(case):
    model, chip, build = case
    stored = model.checkpoint.precision
    makes = build.precision is Precision.FP8 and stored is Precision.BF16 and image_for(chip, build.engine).fp8_args
    if build.precision != stored and not makes:
        with pytest.raises(NoCheckpointError, match=f"stored in {build.precision}"):
            fill_recipe(model, chip, build)
        return
    recipe = fill_recipe(model, chip, build)
    quantised = "--quantization" in recipe.command
    assert quantised == (build.precision != stored)
    assert not quantised or (build.precision is Precision.FP8 and chip.vendor in ("nvidia", "amd"))


@pytest.mark.parametrize(
    ("chip", "model", "asked", "reason"),
    [
        ("T4", GPT_OSS, {}, "does not run mixtures of experts"),
        ("H100-SXM", LLAMA_70B, {"chips": 1}, "GiB of bf16 weights"),
        ("A100-SXM-80GB", LLAMA_70B, {"precision": "nvfp4"}, "no kernels for nvfp4"),
        ("H100-SXM", "Qwen/Qwen3-8B", {"chips": 3}, "there are builds of 1 or 2 chips"),
        ("TPU-v4", QWEN_32B, {}, "no recipe for this chip"),
        ("Trainium2", QWEN_32B, {"engine": "sglang"}, "no recipe for this chip with sglang"),
    ],
)
def test_what_the_plan_may_not_choose_is_refused_in_one_line(chip, model, asked, reason):
    with pytest.raises(UnservableError) as told:
        recipe_of(chip, model, **asked)
    assert reason in str(told.value)
    assert "\n" not in str(told.value)


def test_a_named_checkpoint_that_the_catalog_knows_is_held_to_its_format():
    with pytest.raises(NoCheckpointError, match=r"Qwen/Qwen3-32B is stored in bf16, not in fp8"):
        recipe_of("TPU-v6e", QWEN_32B, precision="fp8", chips=4, weights=QWEN_32B)
    assert (
        recipe_of("TPU-v6e", QWEN_32B, precision="fp8", chips=4, weights="Qwen/Qwen3-32B-FP8")
        .command[2]
        .endswith("FP8")
    )


def test_a_build_made_by_hand_is_held_to_the_same_limits():
    model, chip = find_model(LLAMA_70B), find_chip("H100-SXM")
    one = Build(model.name, chip.name, 1, "vllm", Precision.BF16, Precision.BF16)
    three = Build(model.name, chip.name, 3, "vllm", Precision.FP8, Precision.BF16)
    for build in (one, three):
        with pytest.raises(UnservableError):
            fill_recipe(model, chip, build)


def test_the_longest_request_is_half_of_what_fits_beside_the_weights():
    """By hand, on two H100: 2 x (80 x 0.9 - 2) GiB less 70,553,706,496 weights of 2 bytes; a token keeps 80 layers x
    8 heads x 128 x 2 values of 2 bytes."""
    free = 2 * 70 * 2**30 - 70_553_706_496 * 2
    tokens = free // (80 * 8 * 128 * 2 * 2)
    recipe = recipe_of("H100-SXM", LLAMA_70B, chips=2)
    assert recipe.context_tokens == tokens // 2 // 1024 * 1024
    assert recipe_of("H100-SXM", LLAMA_70B, chips=2, context_tokens=20_000).context_tokens == 20_000
    with pytest.raises(UnservableError, match="tokens of KV cache fit"):
        recipe_of("H100-SXM", LLAMA_70B, chips=2, context_tokens=tokens + 1000)
    with pytest.raises(UnservableError, match="context of 131,072"):
        recipe_of("H100-SXM", LLAMA_70B, chips=8, context_tokens=131_073)


def test_an_fp8_cache_is_asked_for_only_where_the_checkpoint_does_not_say_so():
    model, chip = find_model(LLAMA_70B), find_chip("H100-SXM")
    build = Build(model.name, chip.name, 4, "vllm", Precision.BF16, Precision.FP8)
    command = fill_recipe(model, chip, build).command
    assert command[command.index("--kv-cache-dtype") + 1] == "fp8"
    assert "--kv-cache-dtype" not in recipe_of("H100-SXM", LLAMA_70B, chips=4).command


@pytest.mark.parametrize("chip", ["H100-SXM", "MI300X", "Trainium2", "TPU-v6e", "Gaudi3"])
def test_a_recipe_names_secrets_and_never_holds_them(chip, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "a-value-of-a-secret")
    recipe = recipe_of(chip, QWEN_32B)
    line = docker_line(recipe)
    assert "a-value-of-a-secret" not in line + recipe.model_dump_json()
    assert [name for name in SECRETS if f"-e {name} " not in line] == []
