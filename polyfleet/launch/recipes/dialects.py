"""The flags of each engine's server: what each calls the same thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from polyfleet.terms.build import Build


@dataclass(frozen=True, slots=True)
class Dialect:
    """`command` has {model}, {port}, {context}, {slots} filled in; `names` says how it is told its served names, and
    whether it takes several. `layout` gives the flags of a build on chips of so many devices each."""

    command: tuple[str, ...]
    names: str
    many_names: bool
    layout: Callable[[Build, int], tuple[str, ...]]
    health: str = "/health"


def _vllm(build: Build, cores: int) -> tuple[str, ...]:
    flags = ["--tensor-parallel-size", str(build.tp * cores)]
    flags += ["--pipeline-parallel-size", str(build.pp)] if build.pp > 1 else []
    flags += ["--data-parallel-size", str(build.dp)] if build.dp > 1 else []
    return (*flags, *(("--enable-expert-parallel",) if build.ep > 1 else ()))


def _sglang(build: Build, cores: int) -> tuple[str, ...]:
    """SGLang counts all devices as tensor parallel, and splits attention among them by `--dp-size`."""
    flags = ["--tp-size", str(build.tp * build.dp * cores)]
    flags += ["--pp-size", str(build.pp)] if build.pp > 1 else []
    flags += ["--ep-size", str(build.ep * cores)] if build.ep > 1 else []
    return (*flags, *(("--dp-size", str(build.dp), "--enable-dp-attention") if build.dp > 1 else ()))


def _trtllm(build: Build, cores: int) -> tuple[str, ...]:
    """TensorRT-LLM counts all devices as tensor parallel; attention-DP is a switch."""
    flags = ["--tp_size", str(build.tp * build.dp * cores)]
    flags += ["--pp_size", str(build.pp)] if build.pp > 1 else []
    flags += ["--ep_size", str(build.ep * cores)] if build.ep > 1 else []
    return (*flags, *(("--enable_attention_dp",) if build.dp > 1 else ()))


DIALECTS: Mapping[str, Dialect] = {
    "vllm": Dialect(
        ("vllm", "serve", "{model}", "--host", "0.0.0.0", "--port", "{port}", "--max-model-len", "{context}",
         "--max-num-seqs", "{slots}"),
        "--served-model-name", True, _vllm,
    ),
    "sglang": Dialect(
        ("python3", "-m", "sglang.launch_server", "--model-path", "{model}", "--host", "0.0.0.0", "--port", "{port}",
         "--context-length", "{context}", "--max-running-requests", "{slots}"),
        "--served-model-name", False, _sglang,
    ),
    "trtllm": Dialect(
        ("trtllm-serve", "{model}", "--host", "0.0.0.0", "--port", "{port}", "--max_seq_len", "{context}",
         "--max_batch_size", "{slots}"),
        "--served_model_name", False, _trtllm,
    ),
}  # fmt: skip
