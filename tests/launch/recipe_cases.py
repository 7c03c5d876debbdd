"""What the tests of recipes and manifests share."""

import argparse

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.models import find_model
from polyfleet.launch.recipes import Ask, choose_build, fill_recipe

LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
QWEN_32B = "Qwen/Qwen3-32B"
GPT_OSS = "openai/gpt-oss-120b"


def recipe_of(chip, model, *, precision=None, chips=None, engine=None, **ask):
    known, found = find_model(model), find_chip(chip)
    build = choose_build(known, found, precision=precision, chips=chips, engine=engine)
    return fill_recipe(known, found, build, Ask(**ask))


def value_of(recipe, flag):
    """What follows a flag in the command."""
    return recipe.command[recipe.command.index(flag) + 1]


def parsed(command):
    """The flags of a command, by a parser of the tests' own that knows no others than those stated here."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=True)
    for flag in (
        "host", "port", "max-model-len", "max-num-seqs", "tensor-parallel-size", "pipeline-parallel-size",
        "data-parallel-size", "gpu-memory-utilization", "kv-cache-dtype", "quantization", "max-num-batched-tokens",
        "additional-config", "hf-overrides", "model-path", "context-length", "max-running-requests", "tp-size",
        "pp-size", "ep-size", "dp-size", "mem-fraction-static", "max_seq_len", "max_batch_size", "tp_size", "pp_size",
        "ep_size", "free_gpu_memory_fraction", "kv_cache_dtype", "served_model_name",
    ):  # fmt: skip
        parser.add_argument(f"--{flag}")
    parser.add_argument("--served-model-name", nargs="+")
    for switch in (
        "enable-expert-parallel", "enable-dp-attention", "enable_attention_dp", "no-disable-hybrid-kv-cache-manager",
    ):  # fmt: skip
        parser.add_argument(f"--{switch}", action="store_true")
    parser.add_argument("rest", nargs="*")
    return parser.parse_args(list(command[1:]) if command[0] != "python3" else list(command[3:]))
