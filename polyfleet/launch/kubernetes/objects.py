"""What is ours in a namespace: the marks on every object, and the claim that keeps a second fleet out."""

from __future__ import annotations

import copy
import getpass
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from polyfleet.terms.fleet import ReplicaSpec

Object = dict[str, Any]
"""An object of the API, as its JSON says it."""
Objects = list[Object]

MANAGED_BY = "app.kubernetes.io/managed-by"
FLEET = "polyfleet/fleet"
REPLICA = "polyfleet/replica"
DIGEST = "polyfleet/digest"
SPEC = "polyfleet/spec"
"""Annotation with the whole ReplicaSpec: what it was started as is read from there."""
CLAIM = "polyfleet"
"""The ConfigMap that says whose the namespace is."""


def fleet_labels(fleet: str) -> dict[str, str]:
    """By which all of a fleet's objects are found."""
    return {MANAGED_BY: "polyfleet", FLEET: fleet}


def marked(body: Mapping[str, Any], spec: ReplicaSpec, fleet: str, namespace: str) -> Object:
    """An object of a replica with our labels on it and on its pods; what it had stays."""
    made: Object = copy.deepcopy(dict(body))
    labels = fleet_labels(fleet) | {REPLICA: spec.id, DIGEST: spec.digest}
    meta = made.setdefault("metadata", {})
    meta["namespace"] = namespace
    meta["labels"] = {**meta.get("labels", {}), **labels}
    meta["annotations"] = {**meta.get("annotations", {}), SPEC: spec.model_dump_json()}
    if made["kind"] == "Deployment":
        pods = made["spec"]["template"].setdefault("metadata", {})
        pods["labels"] = {**pods.get("labels", {}), **labels}
    return made


def ordered(bodies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Deployments last: where one is there, all that belongs to it is."""
    return sorted(bodies, key=lambda body: body["kind"] == "Deployment")


def claim(fleet: str, namespace: str) -> Object:
    """The ConfigMap by which a fleet takes a namespace: it can be made once only, whoever asks at the same moment."""
    try:
        who = f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        who = socket.gethostname()
    return {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": CLAIM, "namespace": namespace, "labels": fleet_labels(fleet)},
        "data": {"fleet": fleet, "by": who, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"},
    }  # fmt: skip


def is_ours(found: Mapping[str, Any], fleet: str) -> bool:
    return bool((found["metadata"].get("labels") or {}).get(FLEET) == fleet)
