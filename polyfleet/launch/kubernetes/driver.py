"""The launcher's seam to a namespace of Kubernetes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import Alive, Started, StillThereError
from polyfleet.launch.kubernetes.cluster import Cluster
from polyfleet.launch.kubernetes.objects import CLAIM, Object, Objects, claim, fleet_labels, is_ours, marked, ordered
from polyfleet.launch.kubernetes.reading import alive_of, newest, replica_of, trouble
from polyfleet.launch.kubernetes.sight import Sight
from polyfleet.launch.words import OWN
from polyfleet.terms.fleet import Replica, ReplicaSpec

Render = Callable[[ReplicaSpec], Sequence[Mapping[str, Any]]]
"""The objects of a replica, one Deployment of its id's name among them."""
_FIRST_LOOK_S = 15.0
_OWNER_S = 2.0
"""So long the cluster's own controllers are given to end the pods of what was deleted."""
_LATE_S = 60.0


class KubernetesDriver:
    """Replicas as Deployments in one namespace, which holds one fleet.

    `fleet` is the home's name: 63 characters of a label's alphabet at most. Whatever dies at whatever moment, all of it
    is found again by its labels: objects are named by the replica's id, so nothing can be made twice, and a ConfigMap
    that can be made once only keeps a second fleet out.
    """

    def __init__(self, cluster: Cluster, fleet: str, render: Render) -> None:
        self._cluster, self._fleet, self._render = cluster, fleet, render
        self._sight = Sight(cluster, fleet_labels(fleet))
        self._making = threading.Lock()
        self._released = ""

    def check(self, specs: Sequence[ReplicaSpec]) -> None:
        """Ask the API server whether it would take all of this, and change nothing. Raises LaunchError with the first
        refusal: no rights, no such namespace, somebody else's, an object it does not take."""
        self._sight.wait_listed(_FIRST_LOOK_S)
        self._require_unclaimed(self._cluster.get("ConfigMap", CLAIM))
        self._cluster.apply(claim(self._fleet, self._cluster.place.namespace), dry_run=True)
        for spec in specs:
            self._require_own(spec.id)
            for body in self._objects(spec):
                self._cluster.apply(body, dry_run=True)

    def start(self, spec: ReplicaSpec) -> Started:
        self._sight.wait_listed(_FIRST_LOOK_S)
        if error := self._sight.error:
            raise error
        if spec.id in self._sight.all("Deployment"):
            raise StillThereError(f"{spec.id} runs already, or is just being ended")
        with self._making:
            self._claim()
            self._require_own(spec.id)
            made: Object = {}
            for body in self._objects(spec):
                made = self._cluster.apply(body)
            if made["metadata"].get("deletionTimestamp"):
                raise StillThereError(f"{spec.id} is just being ended")
            self._sight.put("Deployment", made)
        found = alive_of(made, ())
        return Started(found.pid, found.process_started, found.url)

    def stop(self, replica: Replica, grace_s: float) -> None:
        replica_id, begun, asked = replica.spec.id, time.monotonic(), set[str]()
        self._cluster.delete("Deployment", replica_id)
        while (pods := self._pods().get(replica_id, [])) or replica_id in self._sight.all("Deployment"):
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
        pods = self._pods()
        return {name: alive_of(found, pods.get(name, ())) for name, found in self._sight.all("Deployment").items()}

    @property
    def is_away(self) -> bool:
        """Whether the API server cannot be watched just now."""
        return self._sight.error is not None

    def troubles(self) -> Mapping[str, str]:
        """What holds up the replicas that do not come, in a line each."""
        pods = self._pods()
        told = {name: trouble(found, pods.get(name, ())) for name, found in self._sight.all("Deployment").items()}
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

    def tidy(self) -> None:
        """Let go of the namespace once nothing of the fleet is in it."""
        with self._making:
            claimed = self._sight.all("ConfigMap").get(CLAIM)
            if claimed is None or not self._sight.is_listed or self._sight.all("Deployment") or self._sight.all("Pod"):
                return
            if claimed["metadata"]["uid"] != self._released:  # asked again it could be another fleet's by now
                self._cluster.delete("ConfigMap", CLAIM)
                self._released = claimed["metadata"]["uid"]

    def close(self) -> None:
        """Stop to watch; replicas stay."""
        self._sight.close()

    def _objects(self, spec: ReplicaSpec) -> Objects:
        namespace = self._cluster.place.namespace
        return [marked(body, spec, self._fleet, namespace) for body in ordered(self._render(spec))]

    def _claim(self) -> None:
        if self._sight.all("ConfigMap"):
            return  # ours: only those are watched
        wanted = claim(self._fleet, self._cluster.place.namespace)
        while not self._cluster.create(wanted):
            found = self._cluster.get("ConfigMap", CLAIM)
            self._require_unclaimed(found)
            if found is not None:
                return

    def _require_unclaimed(self, found: Object | None) -> None:
        if found is None or is_ours(found, self._fleet):
            return
        data, place = found.get("data") or {}, self._cluster.place
        raise LaunchError(
            f"{place}: the namespace holds the fleet of {data.get('by', 'somebody else')} since "
            f"{data.get('since', 'an unknown time')}; use another namespace, or take that one down. If it is gone for "
            f"good: kubectl --context {place.context} -n {place.namespace} delete configmap {CLAIM}"
        )

    def _require_own(self, replica_id: str) -> None:
        """Raises LaunchError where there is one of this name that is another's."""
        if replica_id in self._sight.all("Deployment"):
            return
        found = self._cluster.get("Deployment", replica_id)
        if found is not None and not is_ours(found, self._fleet):
            raise LaunchError(
                f"{self._cluster.place}: there is a Deployment {replica_id} that is not polyfleet's; "
                "rename one, or use another namespace"
            )

    def _pods(self) -> dict[str, Objects]:
        found: dict[str, Objects] = {}
        for pod in self._sight.all("Pod").values():
            found.setdefault(replica_of(pod), []).append(pod)
        return found


def _left(pods: Sequence[Object]) -> str:
    if not pods:
        return "its Deployment stays; does the cluster's garbage collector run?"
    named = [f"{pod['metadata']['name']} on node {pod['spec'].get('nodeName', '(none)')}" for pod in pods]
    return f"{', '.join(named)} stays; is the node away?"
