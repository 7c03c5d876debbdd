"""`polyfleet recipe` as a user runs it."""

import json
import shlex

import pytest
from recipe_cases import GPT_OSS, QWEN_32B
from typer.testing import CliRunner

from polyfleet.cli.main import app
from polyfleet.errors import PolyfleetError
from polyfleet.launch.recipes import LaunchRecipe


def told(*arguments):
    done = CliRunner().invoke(app, ["recipe", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_everything_that_a_container_needs_is_shown_with_source_and_date():
    shown = told("MI300X", "--model", GPT_OSS)
    rows = [line.split(maxsplit=1) for line in shown.splitlines()]
    assert {"image", "command", "docker", "devices", "environment", "weights", "privileges", "source"} <= {
        row[0] for row in rows
    }
    assert dict(rows)["source"].endswith("2026-11-24")
    assert shlex.split(dict(rows)["command"])[:3] == ["vllm", "serve", GPT_OSS]


def test_json_is_the_recipe_itself():
    recipe = LaunchRecipe.model_validate(json.loads(told("trn2", "--model", GPT_OSS, "--chips", "2", "--json")))
    assert (recipe.chip, recipe.devices) == ("Trainium2", 8)


def test_the_cpu_has_a_recipe_though_it_is_never_planned_for():
    recipe = LaunchRecipe.model_validate(json.loads(told("cpu", "--model", QWEN_32B, "--json")))
    assert recipe.image == "vllm/vllm-openai-cpu:latest-x86_64"
    assert (recipe.capabilities, recipe.shm_gib) == (("SYS_NICE",), 4)
    assert "VLLM_CPU_KVCACHE_SPACE" in recipe.environment


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("MI300Y", "--model", GPT_OSS), "unknown chip (got 'MI300Y'); did you mean"),
        (("MI300X", "--model", "openai/gpt-oss-121b"), "unknown model (got 'openai/gpt-oss-121b'); did you mean"),
        (("MI300X", "--model", GPT_OSS, "--precision", "fp9"), "unknown precision (got 'fp9'); known: bf16, fp32, fp8"),
        (("MI300X", "--model", GPT_OSS, "--engine", "vlm"), "unknown engine (got 'vlm'); did you mean"),
        (("cpu", "--model", QWEN_32B, "--precision", "fp8"), "no kernels for fp8"),
        (("cpu", "--model", QWEN_32B, "--chips", "2"), "takes one machine, not 2"),
        (("TPU-v6e", "--model", QWEN_32B, "--precision", "fp8"), "name a checkpoint that is stored in fp8"),
    ],
)
def test_what_cannot_be_is_one_line_and_the_users_to_mend(arguments, reason):
    with pytest.raises(PolyfleetError) as error:
        CliRunner().invoke(app, ["recipe", *arguments], catch_exceptions=False)
    assert reason in str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
