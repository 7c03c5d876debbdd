"""A namespace without a cluster, for tests: objects are rows, and pods do what they are told."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from polyfleet.launch.kubernetes.objects import REPLICA, WORKER, WORKLOADS, Object, Objects, pod_templates
from polyfleet.launch.kubernetes.refusals import AwayError, GoneError, Place, translated


class FakeCluster:
    """A Cluster in memory. A Deployment gets a Pod, a LeaderWorkerSet as many as its size; a Pod that is deleted comes
    back while what owns it is there.

    `away`: the API server answers nothing. `unknown`: kinds that it has not. `refused`: by verb and kind, such as
    `apply Deployment`, the code and words that it answers with. `calls` tells what was asked that changes something, in
    order; `slow_end`: pods that are deleted stay until `end_pods`.
    """

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or Place("fake", "default")
        self.away = False
        self.slow_end = False
        self.unknown: set[str] = set()
        self.refused: dict[str, tuple[int, str]] = {}
        self.calls: list[str] = []
        self.objects: dict[tuple[str, str], Object] = {}
        self.lines: dict[str, list[str]] = {}
        self._events: list[tuple[int, str, Object]] = []
        self._oldest, self._version, self._pods, self._cuts = 0, 0, 0, 0
        self._moved = threading.Condition()

    def apply(self, body: Object, *, dry_run: bool = False) -> Object:
        kind, name = body["kind"], body["metadata"]["name"]
        self._ask(f"apply {kind}", "" if dry_run else f"apply {kind} {name}")
        with self._moved:
            known = self.objects.get((kind, name))
            made = {**(known or {}), **copy.deepcopy(body)}
            made["metadata"] = {**(known or _birth(f"{kind}-{name}-{self._version}"))["metadata"], **body["metadata"]}
            if dry_run:
                return made
            self._set("MODIFIED" if known else "ADDED", made)
            if kind in WORKLOADS and known is None:
                for number in range(_size(made)):
                    self._add_pod(made, number)
            return copy.deepcopy(made)

    def create(self, body: Object) -> bool:
        kind, name = body["kind"], body["metadata"]["name"]
        self._ask(f"create {kind}")
        with self._moved:
            if (kind, name) in self.objects:
                return False
            self.calls.append(f"create {kind} {name}")
            made = copy.deepcopy(body)
            made["metadata"] = {**_birth(f"{kind}-{name}-{self._version}")["metadata"], **body["metadata"]}
            self._set("ADDED", made)
            return True

    def get(self, kind: str, name: str) -> Object | None:
        self._ask(f"get {kind}")
        with self._moved:
            return copy.deepcopy(self.objects.get((kind, name)))

    def list(self, kind: str, labels: Mapping[str, str]) -> tuple[Objects, str]:
        self._ask(f"list {kind}")
        with self._moved:
            found = [o for (k, _), o in self.objects.items() if k == kind and _has(o, labels)]
            return copy.deepcopy(found), str(self._version)

    def watch(self, kind: str, labels: Mapping[str, str], version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        self._ask(f"watch {kind}")
        at, cuts, deadline = int(version), self._cuts, time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._moved:
                self._wait(at, cuts, deadline)
                if at < self._oldest:
                    raise GoneError(f"{self.place}: too old resource version")
                due = [(n, event, o) for n, event, o in self._events if n > at]
                if self._cuts > cuts:
                    return
            for version_of_event, event, found in due:
                at = version_of_event
                if found["kind"] == kind and _has(found, labels):
                    yield event, copy.deepcopy(found)

    def delete(self, kind: str, name: str, *, grace_s: int | None = None) -> None:
        told = f"delete {kind} {name}" + (f" within {grace_s} s" if grace_s is not None else "")
        self._ask(f"delete {kind}", told)
        with self._moved:
            found = self.objects.get((kind, name))
            if found is None:
                return
            if kind in WORKLOADS:
                for pod in self.pods_of(name):
                    self._end(pod)
            if kind == "Pod" or (kind in WORKLOADS and self.pods_of(name)):
                self._end(found)
            else:
                self._remove(kind, name)

    def log(self, pod: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:  # noqa: ARG002 - as the protocol says
        self._ask("log")
        lines = self.lines.get(pod, [])
        yield from lines if last is None else lines[-last:]

    def close(self) -> None:
        """Nothing is held here; another driver may ask on."""

    def pods_of(self, replica_id: str) -> Objects:
        """Its pods, oldest first."""
        found = [o for (kind, _), o in self.objects.items() if kind == "Pod"]
        return [pod for pod in found if pod["metadata"]["labels"][REPLICA] == replica_id]

    def ready(self, replica_id: str, ip: str, *, is_ready: bool = True) -> None:
        """The newest of its pods that serve has this address, and is Ready or not."""
        conditions = [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": _now()}]
        self.tell(replica_id, {"podIP": ip, "conditions": conditions})

    def tell(self, replica_id: str, status: Mapping[str, Any]) -> None:
        """The newest of its pods that serve says this of itself."""
        with self._moved:
            pod = [p for p in self.pods_of(replica_id) if WORKER not in p["metadata"]["labels"]][-1]
            self._set("MODIFIED", {**pod, "status": dict(status)})

    def end_pods(self) -> None:
        """Pods that were asked to end have ended."""
        with self._moved:
            for (kind, name), found in tuple(self.objects.items()):
                if kind == "Pod" and "deletionTimestamp" in found["metadata"]:
                    self._remove(kind, name)

    def cut(self, *, forget: bool = False) -> None:
        """End every watch; where `forget`, the store no longer knows what went before."""
        with self._moved:
            self._cuts += 1
            self._oldest = self._version if forget else self._oldest
            self._moved.notify_all()

    def _wait(self, version: int, cuts: int, deadline: float) -> None:
        """Until something happened after a version, or the watch is cut."""
        left_s = deadline - time.monotonic()
        self._moved.wait_for(lambda: self._version > version or self._cuts > cuts, left_s)

    def _ask(self, what: str, told: str = "") -> None:
        if self.away:
            raise AwayError(f"{self.place}: the API server is away")
        kind = what.partition(" ")[2]
        if kind in self.unknown:
            raise translated(self.place, what, 404, "NotFound", "the server could not find the requested resource")
        if what in self.refused:
            code, words = self.refused[what]
            raise translated(self.place, what, code, "", words)
        if told:
            self.calls.append(told)

    def _add_pod(self, workload: Object, number: int = 0) -> None:
        self._pods += 1
        name, template = f"{workload['metadata']['name']}-{self._pods}", pod_templates(workload)[min(number, 1)]
        meta = {**_birth(f"pod-{self._pods}")["metadata"], "name": name, "labels": template["metadata"]["labels"]}
        self._set("ADDED", {"kind": "Pod", "metadata": meta, "spec": template["spec"], "status": {}})

    def _end(self, found: Object) -> None:
        self._set("MODIFIED", {**found, "metadata": {**found["metadata"], "deletionTimestamp": _now()}})
        if found["kind"] == "Pod" and not self.slow_end:
            self._remove("Pod", found["metadata"]["name"])

    def _remove(self, kind: str, name: str) -> None:
        found = self.objects.pop((kind, name))
        self._happened("DELETED", found)
        if kind != "Pod":
            return
        labels = found["metadata"]["labels"]
        owner = next((o for k in WORKLOADS if (o := self.objects.get((k, labels[REPLICA])))), None)
        if owner is None:
            return
        if "deletionTimestamp" not in owner["metadata"]:
            self._add_pod(owner, int(WORKER in labels))
        elif not self.pods_of(owner["metadata"]["name"]):
            self._remove(owner["kind"], owner["metadata"]["name"])

    def _set(self, event: str, made: Object) -> None:
        made["metadata"] = {**made["metadata"], "resourceVersion": str(self._version + 1)}
        self.objects[made["kind"], made["metadata"]["name"]] = made
        self._happened(event, made)

    def _happened(self, event: str, found: Object) -> None:
        self._version += 1
        found = {**found, "metadata": {**found["metadata"], "resourceVersion": str(self._version)}}
        self._events.append((self._version, event, found))
        self._moved.notify_all()


def _size(workload: Object) -> int:
    return int(workload["spec"]["leaderWorkerTemplate"]["size"]) if workload["kind"] != "Deployment" else 1


def _birth(uid: str) -> Object:
    return {"metadata": {"uid": uid, "creationTimestamp": _now()}}


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _has(found: Object, labels: Mapping[str, str]) -> bool:
    theirs = found["metadata"].get("labels") or {}
    return all(theirs.get(name) == value for name, value in labels.items())
