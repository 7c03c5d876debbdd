"""A plan's replicas as Kubernetes objects, one folder a cluster, in kustomize's layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.images import Cluster, image_for, load_clusters
from polyfleet.errors import UnservableError
from polyfleet.launch.manifests.fleet import Planned, PlannedLine, place_of, slug
from polyfleet.launch.manifests.pods import Document, pod_spec, worker_spec
from polyfleet.launch.manifests.text import yaml_text
from polyfleet.launch.manifests.weights_from import WeightsFrom


@dataclass(frozen=True, slots=True)
class InCluster:
    """How the cluster is used: where weights come from, the secret that holds tokens, the namespace."""

    weights: WeightsFrom
    secret: str = "polyfleet"
    namespace: str = ""


def kubernetes_files(planned: Planned, chosen: InCluster) -> dict[str, str]:
    """Files by path. Raises UnservableError where a replica spans nodes and its engine cannot."""
    places: dict[str, list[PlannedLine]] = {}
    for line in planned.lines:
        places.setdefault(place_of(line.line), []).append(line)
    files: dict[str, str] = {}
    for place, lines in places.items():
        files.update({f"{place}/{name}": text for name, text in _place(planned, lines, chosen).items()})
    return files


def _place(planned: Planned, lines: list[PlannedLine], chosen: InCluster) -> dict[str, str]:
    files = {
        f"{line.name}.yaml": yaml_text(*replica_objects(planned, line, chosen).values(), budget(line)) for line in lines
    }
    workloads = sorted({line.line.workload for line in lines})
    files["services.yaml"] = yaml_text(*(_service(w, lines) for w in workloads))
    kustomization: Document = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    kustomization |= {"namespace": chosen.namespace} if chosen.namespace else {}
    files["kustomization.yaml"] = yaml_text({**kustomization, "resources": sorted(files)})
    return files


def replica_objects(planned: Planned, line: PlannedLine, chosen: InCluster) -> dict[str, Document]:
    """The Deployment of each replica by its id (a LeaderWorkerSet where one spans nodes). Raises UnservableError."""
    cluster = load_clusters().get(line.line.provider, Cluster(line.line.provider))
    spec = pod_spec(line, cluster, chosen.weights, chosen.secret, slug(line.line.workload, 63))
    build = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    made: dict[str, Document] = {}
    for replica in line.replicas:
        labels = _labels(line, replica, build)
        whole = {**labels, "polyfleet/plan": planned.digest}
        if line.ask.nodes > 1:
            _refuse_one_node_engine(line)
            made[replica] = _group(replica, whole, labels, spec, line.ask.nodes)
        else:
            made[replica] = _deployment(replica, whole, labels, spec)
    return made


def _labels(line: PlannedLine, replica: str, build: str) -> dict[str, str]:
    """Of the pod: without the plan's digest, so that a new plan leaves alone what it does not change."""
    return {
        "app.kubernetes.io/managed-by": "polyfleet",
        "polyfleet/replica": replica,
        "polyfleet/line": line.name,
        "polyfleet/workload": slug(line.line.workload, 63),
        "polyfleet/build": build,
    }


def _deployment(replica: str, whole: Mapping[str, str], labels: Mapping[str, str], spec: Document) -> Document:
    """One replica. `Recreate`: a second pod beside it would find no chips."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": replica, "labels": dict(whole)},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"polyfleet/replica": replica}},
            "template": {"metadata": {"labels": dict(labels)}, "spec": spec},
        },
    }


def _group(replica: str, whole: Mapping[str, str], labels: Mapping[str, str], spec: Document, nodes: int) -> Document:
    """One replica that spans nodes: the leader serves, and all of them start again where one is lost."""
    worker = {k: v for k, v in labels.items() if k != "polyfleet/workload"}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": replica, "labels": dict(whole)},
        "spec": {
            "replicas": 1,
            "leaderWorkerTemplate": {
                "size": nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": {"metadata": {"labels": dict(labels)}, "spec": spec},
                "workerTemplate": {"metadata": {"labels": worker}, "spec": worker_spec(spec)},
            },
        },
    }


def budget(line: PlannedLine) -> Document:
    """Lets a drain of nodes take one of the line's replicas at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": line.name, "labels": {"app.kubernetes.io/managed-by": "polyfleet"}},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"polyfleet/line": line.name}}},
    }


def _service(workload: str, lines: list[PlannedLine]) -> Document:
    name = slug(workload, 63)
    port = next(line.ask.port for line in lines if line.line.workload == workload)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "polyfleet"}},
        "spec": {
            "selector": {"polyfleet/workload": name},
            "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _refuse_one_node_engine(line: PlannedLine) -> None:
    if not image_for(find_chip(line.line.chip), line.line.engine).multi_node:
        raise UnservableError(
            f"line {line.line.id}: {line.line.build} spans {line.ask.nodes} machines, and it is not known how "
            f"{line.line.engine} is started across machines"
        )
