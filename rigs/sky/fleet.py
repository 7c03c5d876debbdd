"""The rig's replicas: the tiny model on llama.cpp, as a container on a machine that SkyPilot rents."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalogs import prices

from polyfleet.launch.engines import command_line
from polyfleet.terms.fleet import SKY, PricedOffer, ReplicaSpec

PORT = 8000
EAST, WEST = "us-east-1", "us-west-2"


def offer(
    region: str, kind: str = "m6i.large", *, spot: bool = False, usd_per_hour: float | None = None
) -> PricedOffer:
    """An offer at the price that the rig's catalog has, or another."""
    asked = {"infra": f"aws/{region}", "instance_type": kind, "use_spot": spot}
    usd = prices()[kind, spot] if usd_per_hour is None else usd_per_hour
    name = f"aws:{region}:{kind}:{'spot' if spot else 'on_demand'}"
    return PricedOffer(offer=name, usd_per_hour=usd, resources=json.dumps(asked))


def replica(name: str, weights: Path, offers: Sequence[PricedOffer], **changes: Any) -> ReplicaSpec:
    """A replica with a machine of its own, or on the `machine` that it shares; then `port` is its own and `ports` are
    the machine's."""
    port = changes.pop("port", PORT)
    ports = changes.pop("ports", (port,))
    told: dict[str, Any] = {
        "id": name, "workload": "chat", "served": ("tiny",), "engine": "llama.cpp", "weights": str(weights), "slots": 4,
        "context_tokens": 2048, "provider": "aws", "region": json.loads(offers[0].resources)["infra"].split("/")[1],
        "offer": offers[0].offer, "usd_per_hour": offers[0].usd_per_hour, "offers": tuple(offers), "place": SKY,
        "key_env": "VLLM_API_KEY", "start_s": 900.0, **changes,
    }  # fmt: skip
    spec = ReplicaSpec(**told)
    return spec.model_copy(update={"manifest": json.dumps(_manifest(spec, port, ports))})


def _manifest(spec: ReplicaSpec, port: int, ports: Sequence[int]) -> dict[str, Any]:
    program, *arguments = command_line(spec.model_copy(update={"python": sys.executable}), port)
    container = f"docker run --rm --name {spec.id} -p {port}:{port} -e HF_TOKEN -e VLLM_API_KEY --entrypoint {program}"
    return {
        "name": spec.id, "setup": "sudo docker pull rig/llama.cpp\n", "port": port, "ports": list(ports),
        "run": f"sudo -E {container} rig/llama.cpp {' '.join(arguments)} --host 0.0.0.0\n",
        "secrets": ["HF_TOKEN", "VLLM_API_KEY"],
    }  # fmt: skip
