"""What workloads (Deployments, LeaderWorkerSets) and Pods say: where a replica answers, and what holds it up. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from polyfleet.launch.driver import Alive
from polyfleet.launch.kubernetes.objects import REPLICA, SPEC, WORKER, Object
from polyfleet.terms.fleet import ReplicaSpec

_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_LACKS = re.compile(r"Insufficient ([\w./-]*\w)")


def alive_of(workload: Object, pods: Sequence[Object]) -> Alive:
    """A replica as it is found. Its process is the Pod that is Ready; while there is none it has no address, and is
    known by its workload. What is being ended differs from all that is wanted: that it goes is no death."""
    spec, ready, meta = spec_of(workload), ready_pod(pods), workload["metadata"]
    ending = "ending" if meta.get("deletionTimestamp") else ""
    if ending:
        spec = spec.model_copy(update={"command": (ending,)})
    if ready is None:
        since = _seconds(meta["creationTimestamp"])
        return Alive(spec, _number(meta["uid"] + ending), since, "", trouble(workload, pods))
    ip, port = ready["status"]["podIP"], _port(ready)
    host = f"[{ip}]" if ":" in ip else ip
    return Alive(spec, _number(ready["metadata"]["uid"] + ending), _ready_since(ready), f"http://{host}:{port}")


def ready_pod(pods: Iterable[Object]) -> Object | None:
    """The newest Pod that serves, is Ready and not on its way out."""
    able = [p for p in pods if not p["metadata"].get("deletionTimestamp") and _serves(p) and _is_ready(p)]
    return max(able, key=lambda p: (p["metadata"]["creationTimestamp"], p["metadata"]["name"]), default=None)


def newest(pods: Sequence[Object]) -> Object | None:
    """The one whose log is of interest: the last that serves and is not on its way out, else the last."""
    return max(
        pods, default=None,
        key=lambda p: (not p["metadata"].get("deletionTimestamp"), _serves(p), p["metadata"]["creationTimestamp"]),
    )  # fmt: skip


def life_of(pod: Object | None) -> str:
    """Which life of its container a Pod is in; empty while none has begun."""
    told = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
    running = [status for status in told if (status.get("state") or {}).get("running")]
    return f"{pod['metadata']['uid']} {running[0].get('restartCount', 0)}" if pod and running else ""


def spec_of(workload: Object) -> ReplicaSpec:
    """What it was started as; where another version of polyfleet wrote that, something that differs from all wanted."""
    meta = workload["metadata"]
    try:
        return ReplicaSpec.model_validate_json((meta.get("annotations") or {}).get(SPEC, ""))
    except ValidationError:
        return ReplicaSpec(id=meta["name"], workload="", served=("unknown",), engine="command", weights="")


def replica_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REPLICA, ""))


def trouble(workload: Object, pods: Sequence[Object]) -> str:
    """What holds a replica up, in one line; empty where nothing does, or it is too early to tell."""
    for condition in _conditions(workload):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return _refused(condition.get("message", ""))
    pod = newest(pods)
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return ""
    beside = [other for other in pods if not _serves(other) and not other["metadata"].get("deletionTimestamp")]
    return next(filter(None, map(_pod_trouble, (pod, *beside))), "")


def _pod_trouble(pod: Object) -> str:
    for condition in _conditions(pod):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _unscheduled(pod, condition.get("message", ""))
    told = pod.get("status") or {}
    statuses = [*(told.get("initContainerStatuses") or ()), *(told.get("containerStatuses") or ())]
    return next(filter(None, map(_waiting, statuses)), "")


def _refused(message: str) -> str:
    """Why no Pod can be made: mostly the namespace's quota."""
    found = re.search(r"exceeded quota: (.*)", message)
    if found:
        return f"the namespace's quota is used up: {found[1]}"
    return f"its pod is refused: {message}"


def _unscheduled(pod: Object, message: str) -> str:
    lacking = sorted(set(_LACKS.findall(message)))
    asked = _asked(pod)
    named = [f"{asked[name]} x {name}" if name in asked else name for name in lacking]
    told = f"no node has {', '.join(named)} free" if named else "no node takes it"
    return f"{told}: {message}" if message else told


def _asked(pod: Object) -> Mapping[str, str]:
    asked: dict[str, str] = {}
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        asked |= resources.get("requests") or {}
        asked |= resources.get("limits") or {}
    return asked


def _waiting(status: Mapping[str, Any]) -> str:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL:
        return f"its image {status.get('image', '')} cannot be had ({reason}): {message}".rstrip(": ")
    if reason == "CrashLoopBackOff":
        last = ((status.get("lastState") or {}).get("terminated")) or {}
        ended = last.get("reason") if last.get("reason") == "OOMKilled" else f"exit code {last.get('exitCode', '?')}"
        return f"it ended {status.get('restartCount', 0)} times, last with {ended}"
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        return f"{reason}: {message}".rstrip(": ")
    return ""


def _port(pod: Object) -> int:
    """The port that it serves on: the one called `http`, else the first."""
    ports = [p for c in pod["spec"]["containers"] for p in c.get("ports") or ()]
    named = [p for p in ports if p.get("name") == "http"] or ports
    return int(named[0]["containerPort"]) if named else 8000


def _serves(pod: Object) -> bool:
    return WORKER not in (pod["metadata"].get("labels") or {})


def _is_ready(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("podIP")) and any(
        c["type"] == "Ready" and c["status"] == "True" for c in _conditions(pod)
    )


def _ready_since(pod: Object) -> float:
    return next(_seconds(c.get("lastTransitionTime")) for c in _conditions(pod) if c["type"] == "Ready")


def _conditions(found: Object) -> Sequence[Mapping[str, Any]]:
    conditions: Sequence[Mapping[str, Any]] = (found.get("status") or {}).get("conditions") or ()
    return conditions


def _seconds(told: str | datetime | None) -> float:
    if told is None:
        return 0.0
    return (told if isinstance(told, datetime) else datetime.fromisoformat(told)).timestamp()


def _number(uid: str) -> int:
    """A uid as a number of the size of a pid."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") >> 1
