"""One keeper of many replicas: seconds a round and peak memory of its process, on each driver without machines.

    python tools/bench_reconcile.py [--replicas 500] [--places fake kubernetes]

Real: the keeper, its state in SQLite, its watch, which asks every replica over HTTP at an address of its own. Not real:
the replicas (one process answers at all their addresses, as vLLM would) and where they run: `fake` is a table in
memory, `kubernetes` the driver for Kubernetes on a namespace in memory, whose objects and events count in the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyfleet.database import open_database
from polyfleet.launch.driver import Driver, Started
from polyfleet.launch.fake import FakeDriver
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.kubernetes.fake import FakeCluster
from polyfleet.launch.state import State
from polyfleet.terms.fleet import ReplicaSpec, ReplicaState

PLACES = ("fake", "kubernetes")
STEADY_ROUNDS, CHANGE_ROUNDS = 40, 40
_MANIFEST_BYTES = 5_000
_OFTEN_S, _SELDOM_S = 0.1, 0.5
"""Between two rounds, as the keeper waits: while replicas start or drain, and at rest."""
_PAGE = b'vllm:num_requests_running{model_name="chat"} 0.0\nvllm:num_requests_waiting{model_name="chat"} 0.0\n'
_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)
_HEAD = ("place", "first", "all ready", "median", "p95", "processor", "change", "worst", "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replicas", type=int, default=500)
    parser.add_argument("--places", nargs="+", default=list(PLACES), choices=PLACES)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve())
    elif options.one:
        print(json.dumps(_measured(options.places[0], options.replicas)))
    else:
        _report(options.places, options.replicas)


def _report(places: list[str], count: int) -> None:
    print(f"{count} replicas of one workload, {_MANIFEST_BYTES} bytes of manifest each. Seconds: the round that starts")
    print("all, from its begin until all are ready, a round at rest (and its processor time), a round while all are")
    print("changed, the worst of all rounds. Memory: the peak of the keeper's process.")
    print(f"{_HEAD[0]:<12}" + "".join(f"{name:>10}" for name in _HEAD[1:]))
    for place in places:
        command = [sys.executable, __file__, "--one", "--replicas", str(count), "--places", place]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{place:<12}" + "".join(f"{row[name]:>10.{0 if name == 'MiB' else 3}f}" for name in _HEAD[1:]))


def _measured(place: str, count: int) -> dict[str, float]:
    with _replicas() as port, tempfile.TemporaryDirectory() as folder:
        state = State(open_database(f"sqlite:///{folder}/state.db"), "bench")
        specs = [_spec(number, port) for number in range(count)]
        state.want(specs, "bench")
        keeper = Keeper(state, _driver(place, port), Path(folder) / "routes.json")
        begun = time.monotonic()
        coming = [_round(keeper)]
        while not _all_are_ready(state, count):
            time.sleep(_OFTEN_S)
            coming.append(_round(keeper))
        all_ready_s, processor_s = time.monotonic() - begun, time.process_time()
        steady = [_round(keeper, _SELDOM_S) for _ in range(STEADY_ROUNDS)]
        processor_s = time.process_time() - processor_s
        state.want([spec.model_copy(update={"context_tokens": 4096}) for spec in specs], "bench")
        changing = [_round(keeper, _OFTEN_S) for _ in range(CHANGE_ROUNDS)]
        assert any(r.spec.context_tokens == 4096 for r in state.replicas().values()), "none was changed"
        keeper.close()
    return {
        "first": coming[0], "all ready": all_ready_s, "median": statistics.median(steady),
        "p95": sorted(steady)[int(len(steady) * 0.95)], "processor": processor_s / STEADY_ROUNDS,
        "change": statistics.median(changing), "worst": max(*coming, *steady, *changing), "MiB": _peak_mib(),
    }  # fmt: skip


def _round(keeper: Keeper, wait_s: float = 0.0) -> float:
    time.sleep(wait_s)
    begun = time.monotonic()
    keeper.tick()
    return time.monotonic() - begun


def _all_are_ready(state: State, count: int) -> bool:
    found = state.replicas()
    return len(found) == count and all(r.state is ReplicaState.READY for r in found.values())


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _spec(number: int, port: int) -> ReplicaSpec:
    name = f"chat-h100-{number}"
    return ReplicaSpec(
        id=name, workload="chat", served=("chat", "openai/gpt-oss-120b"), engine="vllm", weights="openai/gpt-oss-120b",
        manifest=json.dumps([_deployment(name, port)]),
    )  # fmt: skip


def _deployment(name: str, port: int) -> dict[str, Any]:
    """As large as one that a plan makes."""
    labels = {"polyfleet/replica": name}
    container = {
        "name": "engine", "image": "vllm/vllm-openai:v1", "ports": [{"name": "http", "containerPort": port}],
        "resources": {"limits": {"nvidia.com/gpu": "8"}, "requests": {"nvidia.com/gpu": "8"}}, "args": [],
    }  # fmt: skip
    body: dict[str, Any] = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip
    container["args"] = ["x" * 40] * ((_MANIFEST_BYTES - len(json.dumps(body))) // 44)
    return body


def _driver(place: str, port: int) -> Driver:
    return _Answering(port) if place == "fake" else KubernetesDriver(_Ready(), "bench")


def _address(number: int) -> str:
    return f"127.67.{number // 250}.{number % 250 + 1}"


class _Answering(FakeDriver):
    """Its replicas are where one answers."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def start(self, spec: ReplicaSpec) -> Started:
        made = super().start(spec)
        url = f"http://{_address(made.pid % 1000)}:{self._port}"
        self.alive[spec.id] = replace(self.alive[spec.id], url=url)
        return replace(made, url=url)


class _Ready(FakeCluster):
    """Its pods are ready as soon as they are made."""

    def _add_pod(self, workload: dict[str, Any], number: int = 0) -> None:
        super()._add_pod(workload, number)
        self.ready(workload["metadata"]["name"], _address(self._pods % 1000))


@contextlib.contextmanager
def _replicas() -> Iterator[int]:
    """The port that is answered at every address of this machine."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
