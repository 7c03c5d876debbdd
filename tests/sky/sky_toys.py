"""What tests of the SkyPilot driver start from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from polyfleet.terms.fleet import SKY, PricedOffer, Replica, ReplicaSpec, ReplicaState

FLEET = "0123abcd"


def offer(kind: str = "m6i.large", *, usd_per_hour: float = 2.0, region: str = "us-east-1") -> PricedOffer:
    asked = {"infra": f"aws/{region}", "instance_type": kind, "use_spot": False}
    return PricedOffer(
        offer=f"aws:{region}:{kind}:on_demand", usd_per_hour=usd_per_hour, resources=json.dumps(asked)
    )  # fmt: skip


def replica_spec(
    name: str = "chat-0", *, port: int = 1, offers: tuple[PricedOffer, ...] = (), **changes: Any
) -> ReplicaSpec:
    """`port` 1: nothing listens there, so that its jobs are asked for."""
    manifest = {
        "name": name,
        "setup": "true",
        "run": "serve",
        "port": port,
        "ports": [port],
        "secrets": ["VLLM_API_KEY"],
    }
    told: dict[str, Any] = {
        "id": name, "workload": "chat", "served": ("tiny",), "engine": "llama.cpp", "weights": "tiny.gguf",
        "place": SKY, "offers": offers or (offer(),), "manifest": json.dumps(manifest), **changes,
    }  # fmt: skip
    return ReplicaSpec(**told)


def replica(spec: ReplicaSpec) -> Replica:
    return Replica(spec=spec, state=ReplicaState.DRAINING)


def wait_for(met: Callable[[], object], timeout_s: float = 10.0) -> None:
    until = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.01)
