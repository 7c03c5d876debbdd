"""What Deployments and Pods say, judged by statuses as API servers write them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from polyfleet.launch.kubernetes.reading import newest, ready_pod, spec_of, trouble
from polyfleet.launch.kubernetes.refusals import AwayError, GoneError, Place, translated

DEPLOYMENT: dict[str, Any] = {"metadata": {"name": "chat-0", "uid": "u", "creationTimestamp": "2026-11-24T10:00:00Z"}}
PLACE = Place("east", "models")


def pod(
    status: dict[str, Any], name: str = "chat-0-x", created: str = "2026-11-24T10:00:00Z", **meta: str
) -> dict[str, Any]:
    spec = {"containers": [{"name": "engine", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}
    return {
        "metadata": {"name": name, "uid": name, "creationTimestamp": created, **meta},
        "spec": spec,
        "status": status,
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"state": {"waiting": {"reason": reason, "message": message}}, "image": "acme/engine:9", **more}
    return {"containerStatuses": [state]}


def unscheduled(message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}


def ended(times: int, reason: str, code: int) -> dict[str, Any]:
    last = {"terminated": {"exitCode": code, "reason": reason}}
    return waiting("CrashLoopBackOff", restartCount=times, lastState=last)


SHORT = "0/3 nodes are available: 1 node(s) had taint {a: b}, 2 Insufficient nvidia.com/gpu."
UNLIKE = "0/3 nodes are available: 3 node(s) didn't match node selector."


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            waiting("ErrImagePull", "manifest unknown"),
            "its image acme/engine:9 cannot be had (ErrImagePull): manifest unknown",
        ),
        (waiting("ImagePullBackOff"), "its image acme/engine:9 cannot be had (ImagePullBackOff)"),
        (ended(4, "Error", 1), "it ended 4 times, last with exit code 1"),
        (ended(2, "OOMKilled", 137), "it ended 2 times, last with OOMKilled"),
        (waiting("CreateContainerConfigError", "no secret x"), "CreateContainerConfigError: no secret x"),
        (waiting("ContainerCreating"), ""),
        (unscheduled(SHORT), f"no node has 8 x nvidia.com/gpu free: {SHORT}"),
        (unscheduled(UNLIKE), f"no node takes it: {UNLIKE}"),
        ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_holds_a_pod_up_is_told_in_one_line(status: dict[str, Any], told: str) -> None:
    assert trouble(DEPLOYMENT, [pod(status)]) == told


def test_a_quota_that_is_used_up_is_read_from_the_deployment() -> None:
    words = 'pods "x" is forbidden: exceeded quota: chips, requested: requests.nvidia.com/gpu=8, used: 8, limited: 8'
    failing = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": words}]}
    told = trouble({**DEPLOYMENT, "status": failing}, [])
    assert told.startswith("the namespace's quota is used up: chips, requested: requests.nvidia.com/gpu=8")


def test_only_a_ready_pod_that_stays_has_the_address() -> None:
    ready = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    leaving = pod(ready, "a", "2026-11-24T12:00:00Z", deletionTimestamp="2026-11-24T12:01:00Z")
    old, new = pod(ready, "b", "2026-11-24T10:00:00Z"), pod(ready, "c", "2026-11-24T11:00:00Z")
    unready = pod({**ready, "conditions": [{"type": "Ready", "status": "False"}]}, "d", "2026-11-24T13:00:00Z")
    assert ready_pod([leaving, old, new, unready]) == new
    assert ready_pod([leaving, unready]) is None
    assert newest([leaving, old]) == old
    assert newest([leaving]) == leaving


def test_a_deployment_of_another_version_differs_from_all_that_is_wanted() -> None:
    other = {"metadata": {**DEPLOYMENT["metadata"], "annotations": {"polyfleet/spec": '{"id": "chat-0", "colour": 1}'}}}
    assert spec_of(other).served == ("unknown",)
    assert spec_of(DEPLOYMENT).id == "chat-0"


@pytest.mark.parametrize(
    ("code", "reason", "message", "told"),
    [
        (401, "Unauthorized", "Unauthorized", "does not know this user"),
        (403, "Forbidden", 'pods is forbidden: User "ann" cannot list', "no right to list Pods: .*ann.*docs/clouds.md"),
        (403, "Forbidden", "exceeded quota: q, requested: cpu=9", "quota is used up"),
        (404, "NotFound", 'namespaces "models" not found', "no such namespace"),
        (409, "Conflict", 'Apply failed with 1 conflict: conflict with "kubectl"', "somebody else changes it.*kubectl"),
        (422, "Invalid", "spec.selector: field is immutable", "could not list Pods: spec.selector: field is immutable"),
    ],
)
def test_a_refusal_tells_where_and_what_to_do(code: int, reason: str, message: str, told: str) -> None:
    error = translated(PLACE, "list Pods", code, reason, message)
    assert str(error).startswith("kubernetes east/models: ")
    assert "\n" not in str(error)
    assert re.search(told, str(error))
    assert not error.can_retry


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_what_may_pass_can_be_tried_again(code: int) -> None:
    error = translated(PLACE, "list Pods", code, "", "etcdserver: request timed out")
    assert isinstance(error, AwayError)
    assert error.can_retry
    assert isinstance(translated(PLACE, "watch Pods", 410, "Expired", "too old resource version"), GoneError)
