"""Recipes against what the makers of chips and engines have published (October and November 2026)."""

import pytest
from recipe_cases import GPT_OSS, LLAMA_70B, QWEN_32B, recipe_of, value_of

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.images import image_for, load_images
from polyfleet.catalog.recipes import load_recipes
from polyfleet.launch.recipes.docker import docker_words

NEURON = "public.ecr.aws/neuron/pytorch-inference-vllm-neuronx:"


@pytest.mark.parametrize(
    ("chip", "image", "docker", "resource"),
    [
        ("H100-SXM", "vllm/vllm-openai:", ["--gpus", "--ipc host"], "nvidia.com/gpu"),
        (
            "MI300X", "rocm/vllm:rocm7.14.0_cdna_ubuntu24.04_py3.14_pytorch_2.11.0_vllm_0.23.0",
            ["--device /dev/kfd", "--device /dev/dri", "--group-add video", "--ipc host",
             "--security-opt seccomp=unconfined", "-e VLLM_ROCM_USE_AITER=1"], "amd.com/gpu",
        ),
        (
            "Trainium2", NEURON + "0.24.0.1.1.0-neuronx-py313-sdk2.32.0-ubuntu24.04",
            ["--device /dev/neuron0", "--cap-add SYS_ADMIN", "--cap-add IPC_LOCK"], "aws.amazon.com/neuron",
        ),
        ("Inferentia2", NEURON + "0.16.0-", ["--device /dev/neuron0", "--cap-add SYS_ADMIN"], "aws.amazon.com/neuron"),
        ("TPU-v6e", "vllm/vllm-tpu:", ["--privileged", "--net host", "--shm-size 150g"], "google.com/tpu"),
        (
            "Gaudi3", "vault.habana.ai/gaudi-docker/1.24.0/ubuntu24.04/habanalabs/vllm-plugin-",
            ["--runtime habana", "-e HABANA_VISIBLE_DEVICES=all"], "habana.ai/gaudi",
        ),
    ],
)  # fmt: skip
def test_image_options_and_resource_are_the_published_ones(chip, image, docker, resource):
    recipe = recipe_of(chip, QWEN_32B)
    assert recipe.image.startswith(image)
    words = " ".join(docker_words(recipe))
    assert [option for option in docker if option not in words] == []
    assert resource in recipe.resources


@pytest.mark.parametrize(
    ("chip", "model", "chips", "flag", "counted"),
    [  # by hand: Trainium1 and Inferentia2 count 2 NeuronCores a chip, Trainium2 and 3 four logical cores, TPU v7 two
        ("Inferentia2", QWEN_32B, 4, 4 * 2, 4),
        ("Trainium1", LLAMA_70B, 16, 16 * 2, 16),
        ("Trainium2", LLAMA_70B, 4, 16, 4),  # the published run of this model: tensor parallel 16
        ("Trainium2", GPT_OSS, 2, 8, 2),  # the published run of this one: tensor parallel 8
        ("Trainium3", QWEN_32B, 16, 64, 16),
        ("TPU-v7", QWEN_32B, 4, 8, 4),
        ("TPU-v6e", QWEN_32B, 8, 8, 8),  # the published layout of a v6e-8
        ("MI250", QWEN_32B, 2, 4, 4),  # two dies, which AMD's device plugin counts as two
        ("MI300X", LLAMA_70B, 8, 8, 8),
        ("H100-SXM", LLAMA_70B, 4, 4, 4),
        ("Gaudi2", LLAMA_70B, 4, 4, 4),
    ],
)
def test_the_engine_counts_its_devices_and_kubernetes_its_own(chip, model, chips, flag, counted):
    recipe = recipe_of(chip, model, chips=chips)
    assert value_of(recipe, "--tensor-parallel-size") == str(flag) == str(recipe.devices)
    assert recipe.resources[image_for(load_chips()[chip], recipe.engine).resource] == str(counted)


def test_a_neuron_container_gets_one_device_file_a_chip():
    assert recipe_of("Trainium2", LLAMA_70B, chips=16).device.files == tuple(f"/dev/neuron{n}" for n in range(16))


def test_neuron_is_told_the_shapes_to_compile_and_the_published_timeouts():
    recipe = recipe_of("Trainium2", LLAMA_70B, chips=4)
    assert value_of(recipe, "--additional-config") == (
        '{"neuron_config": {"num_batched_tokens_buckets": [8192], "num_seqs_buckets": [8]}}'
    )
    assert (value_of(recipe, "--max-num-batched-tokens"), value_of(recipe, "--max-num-seqs")) == ("8192", "8")
    assert recipe.environment["VLLM_NEURON_COMPILATION_TIMEOUT"] == "1200"
    assert (recipe.compiles, recipe.cold_start_s) == (True, 20 * 60)


def test_gpt_oss_on_neuron_takes_the_flags_of_its_published_run():
    command = recipe_of("Trainium2", GPT_OSS, chips=2).command
    assert {"--no-disable-hybrid-kv-cache-manager", "--hf-overrides", '{"quantization_config": {}}'} <= set(command)


def test_fp8_on_neuron_comes_with_the_checkpoint_and_never_by_a_flag():
    recipe = recipe_of("Trainium2", LLAMA_70B, precision="fp8", chips=4, weights="nvidia/Llama-3.3-70B-Instruct-FP8")
    assert "--quantization" not in recipe.command
    assert recipe.command[2] == "nvidia/Llama-3.3-70B-Instruct-FP8"


@pytest.mark.parametrize(
    ("chip", "chips", "accelerator", "topology"),
    [
        ("TPU-v5e", 8, "tpu-v5-lite-podslice", "2x4"),
        ("TPU-v6e", 4, "tpu-v6e-slice", "2x2"),
        ("TPU-v6e", 8, "tpu-v6e-slice", "2x4"),
        ("TPU-v7", 4, "tpu7x", "2x2x1"),
    ],
)
def test_a_slice_of_tpus_is_asked_for_by_its_shape(chip, chips, accelerator, topology):
    assert recipe_of(chip, "Qwen/Qwen3-8B", chips=chips).selector == {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": topology,
    }


def test_a_slice_that_is_not_published_is_told_and_not_asked_for():
    recipe = recipe_of("TPU-v7", "Qwen/Qwen3-8B", chips=1)
    assert recipe.selector == {"cloud.google.com/gke-tpu-accelerator": "tpu7x"}
    assert any("no slice of 1 chips" in note for note in recipe.notes)


def test_plan_and_launch_know_the_same_engines():
    limits = {(r.family, chip, r.engine) for r in load_recipes() for chip in r.chips}
    started = {(i.family, chip, i.engine) for i in load_images() for chip in i.chips}
    assert started - limits == {("cpu", "*", "vllm-cpu")}
    assert limits - started == set()


def test_every_row_has_its_source_and_date():
    for image in load_images():
        assert image.source
        assert image.as_of == "2026-11-24"
        assert (image.cold_start_s is None) == (image.cold_start_source == "")
