"""The rig's replicas: the tiny model on llama.cpp, in a pod that asks for chips."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyfleet.launch.engines import command_line
from polyfleet.terms.fleet import ReplicaSpec

PORT = 8000
_IMAGES = {"nowhere": "nowhere.invalid/engine:1"}
_CHIPS = {"H100": ("nvidia.com/gpu", "2"), "MI300X": ("amd.com/gpu", "8")}


def replicas(count: int, weights: Path, place: str, **changes: Any) -> tuple[ReplicaSpec, ...]:
    """Replicas of one workload, each on two H100s. `place`: the context; the node's resources are real to the
    scheduler, the chips are not."""
    told: dict[str, Any] = {
        "workload": "chat", "served": ("tiny",), "engine": "llama.cpp", "weights": str(weights), "slots": 4,
        "context_tokens": 2048, "provider": "kubernetes", "chip": "H100", "region": place, "place": place, **changes,
    }  # fmt: skip
    return tuple(ReplicaSpec(id=f"{told['workload']}-{n}", **told) for n in range(count))


def objects(spec: ReplicaSpec) -> Sequence[Mapping[str, Any]]:
    """The Deployment of a replica."""
    labels = {"polyfleet/replica": spec.id}
    resource, count = _CHIPS.get(spec.chip, ("", ""))
    container = {
        "name": "engine", "image": _IMAGES.get(spec.offer, "rig/llama.cpp"),
        "command": [*command_line(spec.model_copy(update={"python": sys.executable}), PORT), "--host", "$(POD_IP)"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
        "resources": {"limits": {resource: count}, "requests": {resource: count}} if resource else {},
    }  # fmt: skip
    pod = {
        "containers": [container], "terminationGracePeriodSeconds": 30,
        "tolerations": [{"key": resource, "operator": "Exists", "effect": "NoSchedule"}] if resource else [],
    }  # fmt: skip
    return [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": spec.id, "labels": labels},
            "spec": {
                "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
    ]  # fmt: skip
