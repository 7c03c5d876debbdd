"""The launcher's seam to a namespace of Kubernetes."""

from __future__ import annotations

import math
import operator
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import Alive, Started, StillThereError
from polyfleet.launch.kubernetes.claim import CLAIM, Claim
from polyfleet.launch.kubernetes.cluster import Cluster
from polyfleet.launch.kubernetes.objects import (
    SPEC,
    WORKLOADS,
    Object,
    Objects,
    fleet_labels,
    is_ours,
    marked,
    objects_of,
    parted,
)
from polyfleet.launch.kubernetes.reading import alive_of, life_of, newest, replica_of, spec_of, trouble
from polyfleet.launch.kubernetes.shared import Name, Shared, name_of, not_ours
from polyfleet.launch.kubernetes.sight import Sight
from polyfleet.launch.words import OWN
from polyfleet.terms.fleet import Replica, ReplicaSpec

Render = Callable[[ReplicaSpec], Sequence[Mapping[str, Any]]]
"""The objects of a replica: one Deployment or LeaderWorkerSet of its id's name, and what it shares with others."""
_FIRST_LOOK_S = 15.0
_OWNER_S = 2.0
"""So long the cluster's own controllers are given to end the pods of what was deleted."""
_LATE_S = 60.0


class KubernetesDriver:
    """Replicas as Deployments (LeaderWorkerSets, where one spans nodes) in one namespace, which holds one fleet.

    `fleet` is the home's name: 63 characters of a label's alphabet at most. `render` gives the objects of a replica;
    by default its manifest does. Whatever dies at whatever moment, all of it
    is found again by its labels: objects are named by the replica's id, so nothing can be made twice, and a ConfigMap
    that can be made once only keeps a second fleet out.
    """

    def __init__(self, cluster: Cluster, fleet: str, render: Render = objects_of) -> None:
        self._cluster, self._fleet, self._render = cluster, fleet, render
        self._sight = Sight(cluster, fleet_labels(fleet))
        self._claim, self._shared = Claim(cluster, fleet), Shared(cluster, fleet)
        self._seen: dict[str, tuple[Object, Objects, Alive]] = {}
        self._used: tuple[frozenset[str], frozenset[Name]] = (frozenset(), frozenset())
        self._making = threading.Lock()

    def check(self, specs: Sequence[ReplicaSpec]) -> None:
        """Ask the API server whether it would take all of this, and change nothing. Raises LaunchError with the first
        refusal: no rights, no such namespace, somebody else's, an object it does not take."""
        self._sight.wait_listed(_FIRST_LOOK_S)
        self._claim.check()
        for spec in specs:
            own, shared = parted(self._render(spec), spec.id)
            self._require_own(own["kind"], spec.id)
            self._shared.apply(shared, dry_run=True)
            self._cluster.apply(self._marked(own, spec), dry_run=True)

    def start(self, spec: ReplicaSpec) -> Started:
        self._sight.wait_listed(_FIRST_LOOK_S)
        if error := self._sight.error:
            raise error
        if spec.id in self._workloads():
            raise StillThereError(f"{spec.id} runs already, or is just being ended")
        own, shared = parted(self._render(spec), spec.id)
        with self._making:
            if not self._sight.all("ConfigMap"):  # ours: only those are watched
                self._claim.take()
            self._require_own(own["kind"], spec.id)
            self._shared.apply(shared)  # first: where the replica is there, all that belongs to it is
            made = self._cluster.apply(self._marked(own, spec))
            if made["metadata"].get("deletionTimestamp"):
                raise StillThereError(f"{spec.id} is just being ended")
            self._sight.put(own["kind"], made)
        found = alive_of(made, ())
        return Started(found.pid, found.process_started, found.url)

    def stop(self, replica: Replica, grace_s: float) -> None:
        replica_id, begun, asked = replica.spec.id, time.monotonic(), set[str]()
        for kind in WORKLOADS:
            if replica_id in self._sight.all(kind):
                self._cluster.delete(kind, replica_id)
        while (pods := self._pods().get(replica_id, [])) or replica_id in self._workloads():
            late_s = time.monotonic() - begun
            if late_s >= grace_s + _LATE_S:
                raise LaunchError(f"{self._cluster.place}: {replica_id} does not end: {_left(pods)}")
            for pod in pods:
                name, is_ending = pod["metadata"]["name"], pod["metadata"].get("deletionTimestamp")
                if name not in asked and (is_ending or late_s >= _OWNER_S):
                    asked.add(name)
                    self._cluster.delete("Pod", name, grace_s=max(math.ceil(grace_s), 1))
            with self._sight.changed:
                self._sight.changed.wait(0.2)

    def list(self) -> Mapping[str, Alive]:
        """As the watch tells: while the API server is away, as it told last."""
        self._sight.wait_listed(_FIRST_LOOK_S)
        pods, before = self._pods(), self._seen
        self._seen = {n: _alive(found, pods.get(n, []), before.get(n)) for n, found in self._workloads().items()}
        return {name: alive for name, (_, _, alive) in self._seen.items()}

    @property
    def is_away(self) -> bool:
        """Whether the API server cannot be watched just now."""
        return self._sight.error is not None

    def troubles(self) -> Mapping[str, str]:
        """What holds up the replicas that do not come, in a line each."""
        pods = self._pods()
        told = {name: trouble(found, pods.get(name, ())) for name, found in self._workloads().items()}
        return {name: line for name, line in told.items() if line}

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        self._sight.wait_listed(_FIRST_LOOK_S)
        held_up, pod = self.troubles().get(replica_id), newest(self._pods().get(replica_id, ()))
        if pod is None and held_up is None:
            raise LaunchError(f"{replica_id} has no log")
        if pod is not None and (pod["status"].get("podIP") or not held_up):
            yield from self._cluster.log(pod["metadata"]["name"], last=last, follow=follow)
        if held_up:
            yield f"{OWN}{held_up}"
        if follow:
            yield from self._follow(replica_id, life_of(pod))

    def _follow(self, replica_id: str, followed: str) -> Iterator[str]:
        """The logs of the lives to come, while there is the replica."""
        while replica_id in self._workloads():
            pod = newest(self._pods().get(replica_id, ()))
            if pod is None or life_of(pod) in ("", followed):
                with self._sight.changed:
                    self._sight.changed.wait(0.5)
                continue
            followed = life_of(pod)
            yield from self._cluster.log(pod["metadata"]["name"], follow=True)

    def tidy(self) -> None:
        """End what no replica shares any more, and let go of the namespace once nothing of the fleet is in it."""
        if not self._sight.is_listed or self._sight.error:
            return
        with self._making:
            claimed, workloads = self._sight.all("ConfigMap").get(CLAIM), self._workloads()
            if claimed is None:
                return  # nothing of ours was ever made
            self._prune(workloads)
            if not workloads and not self._sight.all("Pod"):
                self._claim.release(claimed)

    def close(self) -> None:
        """Stop to watch; replicas stay."""
        self._sight.close()

    def _marked(self, own: Object, spec: ReplicaSpec) -> Object:
        return marked(own, spec, self._fleet, self._cluster.place.namespace)

    def _workloads(self) -> dict[str, Object]:
        """What replicas are, by their id."""
        found: dict[str, Object] = {}
        for kind in WORKLOADS:
            found |= self._sight.all(kind)
        return found

    def _prune(self, workloads: Mapping[str, Object]) -> None:
        specs = frozenset((found["metadata"].get("annotations") or {}).get(SPEC, "") for found in workloads.values())
        if specs != self._used[0]:
            try:
                shared = [parted(self._render(spec), spec.id)[1] for spec in map(spec_of, workloads.values())]
            except LaunchError:
                return  # another version made one: what it shares is known once it has ended
            self._used = specs, frozenset(name_of(body) for bodies in shared for body in bodies)
        self._shared.prune(self._used[1])

    def _require_own(self, kind: str, replica_id: str) -> None:
        """Raises LaunchError where there is one of this name that is another's."""
        if replica_id in self._sight.all(kind):
            return
        found = self._cluster.get(kind, replica_id)
        if found is not None and not is_ours(found, self._fleet):
            raise not_ours(self._cluster, kind, replica_id)

    def _pods(self) -> dict[str, Objects]:
        found: dict[str, Objects] = {}
        for pod in self._sight.all("Pod").values():
            found.setdefault(replica_of(pod), []).append(pod)
        return found


def _alive(found: Object, pods: Objects, before: tuple[Object, Objects, Alive] | None) -> tuple[Object, Objects, Alive]:
    """As before where nothing was told since: objects that are told of anew are other ones."""
    if before and found is before[0] and len(pods) == len(before[1]) and all(map(operator.is_, pods, before[1])):
        return before
    return found, pods, alive_of(found, pods)


def _left(pods: Sequence[Object]) -> str:
    if not pods:
        return "it stays; does the cluster's garbage collector run?"
    named = [f"{pod['metadata']['name']} on node {pod['spec'].get('nodeName', '(none)')}" for pod in pods]
    return f"{', '.join(named)} stays; is the node away?"
