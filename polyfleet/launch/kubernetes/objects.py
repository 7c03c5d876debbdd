"""What is ours in a namespace: which objects, and the marks on each."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from polyfleet.errors import LaunchError
from polyfleet.terms.fleet import ReplicaSpec

Object = dict[str, Any]
"""An object of the API, as its JSON says it."""
Objects = list[Object]

MANAGED_BY = "app.kubernetes.io/managed-by"
FLEET = "polyfleet/fleet"
REPLICA = "polyfleet/replica"
DIGEST = "polyfleet/digest"
WORKER = "polyfleet/worker"
"""On the pods beside the leader of a replica that spans nodes: they serve nothing themselves."""
SPEC = "polyfleet/spec"
"""Annotation with the whole ReplicaSpec: what it was started as is read from there."""
WORKLOADS = {"Deployment": "apps/v1", "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1"}
"""What a replica can be: on one node, or on several."""
SHARED = {"PodDisruptionBudget": "policy/v1", "Service": "v1"}
"""What replicas can have in common, beside what each is."""


def fleet_labels(fleet: str) -> dict[str, str]:
    """By which all of a fleet's objects are found."""
    return {MANAGED_BY: "polyfleet", FLEET: fleet}


def objects_of(spec: ReplicaSpec) -> Objects:
    """The objects of a replica, as its manifest says. Raises LaunchError where that is no JSON list of objects."""
    try:
        bodies = json.loads(spec.manifest)
    except ValueError as error:
        raise LaunchError(f"{spec.id}: its manifest is no JSON: {error}") from None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise LaunchError(f"{spec.id}: its manifest is no JSON list of Kubernetes objects")
    return bodies


def parted(bodies: Sequence[Mapping[str, Any]], replica_id: str) -> tuple[Object, Objects]:
    """What the replica is, and what it has in common with others. Raises LaunchError where it is not one Deployment or
    LeaderWorkerSet named by its id, or has beside it what is not taken here."""
    taken = WORKLOADS | SHARED
    for body in bodies:
        told = f"{body.get('apiVersion')} {body.get('kind')}"
        if taken.get(str(body.get("kind"))) != body.get("apiVersion"):
            known = ", ".join(f"{version} {kind}" for kind, version in taken.items())
            raise LaunchError(f"{replica_id}: a {told} cannot be applied here; there are: {known}")
        if not isinstance(body.get("metadata"), dict) or not body["metadata"].get("name"):
            raise LaunchError(f"{replica_id}: a {told} has no name")
    own = [dict(body) for body in bodies if body["kind"] in WORKLOADS]
    if [body["metadata"]["name"] for body in own] != [replica_id]:
        raise LaunchError(f"{replica_id}: its manifest must hold one {' or '.join(WORKLOADS)} of its name")
    return own[0], [dict(body) for body in bodies if body["kind"] in SHARED]


def marked(body: Mapping[str, Any], spec: ReplicaSpec, fleet: str, namespace: str) -> Object:
    """What a replica is, with our labels on it and on its pods; what it had stays."""
    made: Object = copy.deepcopy(dict(body))
    labels = fleet_labels(fleet) | {REPLICA: spec.id, DIGEST: spec.digest}
    meta = made.setdefault("metadata", {})
    meta["namespace"] = namespace
    meta["labels"] = {**meta.get("labels", {}), **labels}
    meta["annotations"] = {**meta.get("annotations", {}), SPEC: spec.model_dump_json()}
    for number, template in enumerate(pod_templates(made)):
        pods = template.setdefault("metadata", {})
        pods["labels"] = {**pods.get("labels", {}), **labels, **({WORKER: "true"} if number else {})}
    return made


def marked_shared(body: Mapping[str, Any], fleet: str, namespace: str) -> Object:
    """What several replicas have in common: the same words, whichever of them brings it."""
    made: Object = copy.deepcopy(dict(body))
    meta = made["metadata"]
    meta["namespace"] = namespace
    meta["labels"] = {**meta.get("labels", {}), **fleet_labels(fleet)}
    return made


def pod_templates(workload: Object) -> Objects:
    """Of the pod that serves, then of those beside it."""
    if workload["kind"] == "Deployment":
        return [workload["spec"]["template"]]
    group = workload["spec"]["leaderWorkerTemplate"]
    return [group["leaderTemplate"], group["workerTemplate"]]


def is_ours(found: Mapping[str, Any], fleet: str) -> bool:
    return bool((found["metadata"].get("labels") or {}).get(FLEET) == fleet)
