"""A replica and its objects, as small as the API takes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState


def replica_spec(replica_id: str = "chat-0", **changes: Any) -> ReplicaSpec:
    made = ReplicaSpec(id=replica_id, workload="chat", served=("chat",), engine="llama.cpp", weights="tiny")
    return made.model_copy(update=changes)


def replica(spec: ReplicaSpec) -> Replica:
    return Replica(spec=spec, state=ReplicaState.DRAINING)


def objects(spec: ReplicaSpec) -> Sequence[Mapping[str, Any]]:
    container = {
        "name": "engine", "image": "registry.invalid/engine:1", "command": ["serve", spec.weights],
        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1},
        "resources": {"limits": {"nvidia.com/gpu": "8"}, "requests": {"nvidia.com/gpu": "8"}},
    }  # fmt: skip
    labels = {"polyfleet/replica": spec.id}
    return [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": spec.id},
            "spec": {
                "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }
    ]  # fmt: skip


def group(replica_id: str, nodes: int) -> dict[str, Any]:
    """A replica that spans nodes."""
    (body,) = objects(replica_spec(replica_id))
    pod = body["spec"]["template"]
    templates = {"leaderTemplate": pod, "workerTemplate": pod}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": replica_id},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": nodes, **templates}},
    }  # fmt: skip


def budget(name: str, most: int = 1) -> dict[str, Any]:
    """What the replicas of a line have in common."""
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"maxUnavailable": most, "selector": {"matchLabels": {"polyfleet/line": name}}},
    }  # fmt: skip


def wait_for(met: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Return once it is so; AssertionError where it does not come to be."""
    deadline = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.005)
