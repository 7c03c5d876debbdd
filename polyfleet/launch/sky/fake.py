"""SkyPilot in memory, for tests: asked like its process, and as strange as the real one.

Launching under a name that is there keeps the machine and adds a job beside the first; a cluster that was taken down is
nothing to take down again; a reclaimed machine is missed only by a forced look.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polyfleet.launch.sky.refusals import AwayError, EngineError

USD_PER_HOUR = 2.0


@dataclass
class FakeCluster:
    """A cluster, its jobs by number: name, status, the task's command."""

    hash: str
    resources: Mapping[str, Any]
    status: str = "INIT"
    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    reclaimed: bool = False
    unready: bool = False


class FakeSky:
    """`refused`: what is said to a launch, by instance type. `hold`: launches wait until it is set. `away`: nothing is
    answered. `lose_job`: the next launch makes its machine, called UP though nothing is set up on it, and no job,
    as where the API server dies in between."""

    def __init__(self) -> None:
        self.clusters: dict[str, FakeCluster] = {}
        self.refused: dict[str, str] = {}
        self.enabled = {"aws"}
        self.usd_per_hour = USD_PER_HOUR
        self.away = self.lose_job = False
        self.hold = threading.Event()
        self.hold.set()
        self.calls: list[str] = []
        self.secrets: list[str] = []
        self.stays = 0
        self._under_way: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def __call__(self, call: str, timeout_s: float, /, **told: Any) -> Any:  # noqa: ARG002 - as the process is asked
        if self.away:
            raise AwayError("sky: away")
        with self._lock:
            self.calls.append(
                call if call != "launch" else f"launch {told['cluster']} {_kind(told['resources'])}".strip()
            )
        return getattr(self, f"_{call}")(**told)

    def reclaim(self, cluster: str) -> None:
        """The cloud takes its machine back."""
        with self._lock:
            self.clusters[cluster].reclaimed = True

    def end_job(self, cluster: str, status: str = "FAILED") -> None:
        """Its jobs end by themselves."""
        with self._lock:
            for job in self.clusters[cluster].jobs.values():
                job["status"] = status

    def live(self) -> dict[str, list[str]]:
        """Names of live jobs by cluster."""
        with self._lock:
            return {
                name: [job["name"] for job in cluster.jobs.values() if job["status"] == "RUNNING"]
                for name, cluster in self.clusters.items()
            }

    def launches(self) -> list[str]:
        """Cluster and instance type of each, in order."""
        with self._lock:
            return [call.removeprefix("launch ") for call in self.calls if call.startswith("launch ")]

    def _hello(self) -> dict[str, Any]:
        return {"version": "fake"}

    def _check(self, clouds: list[str]) -> dict[str, Any]:
        return {"enabled": sorted(self.enabled & set(clouds))}

    def _price(self, resources: Mapping[str, Any]) -> dict[str, Any]:
        if "nope" in _kind(resources):
            raise EngineError("ValueError", f"No instance type {_kind(resources)} found.")
        return {"usd_per_hour": self.usd_per_hour, "machine": _kind(resources)}

    def _status(self, pattern: str, force: bool) -> list[dict[str, Any]]:
        with self._lock:
            if force:
                self.clusters = {n: c for n, c in self.clusters.items() if not c.reclaimed}
            return [
                {
                    "name": name, "status": cluster.status, "hash": cluster.hash, "told": "",
                    "labels": cluster.resources.get("labels", {}),
                }
                for name, cluster in self.clusters.items() if name == pattern or name.startswith(pattern.rstrip("*"))
            ]  # fmt: skip

    def _queue(self, cluster: str) -> list[dict[str, Any]]:
        with self._lock:
            if self.clusters.get(cluster) and self.clusters[cluster].unready:
                raise EngineError("ClusterNotUpError", f"Cluster {cluster!r} has been stopped or not properly set up.")
            return [
                {"id": n, "name": job["name"], "status": job["status"], "live": job["status"] == "RUNNING"}
                for n, job in self._found(cluster).jobs.items()
            ]

    def _requests(self, pattern: str) -> list[dict[str, str]]:
        with self._lock:
            return [{"id": i, "cluster": c} for i, c in self._under_way.items() if c.startswith(pattern)]

    def _wait(self, request: str) -> None:
        while request in self._under_way:
            self.hold.wait(0.01)

    def _launch(
        self, cluster: str, task: Mapping[str, Any], resources: Mapping[str, Any], secrets: list[str]
    ) -> dict[str, Any]:
        with self._lock:
            request = f"request-{next(self._numbers)}"
            self._under_way[request] = cluster
            self.secrets += secrets
            made = self.clusters.get(cluster) or FakeCluster(f"hash-{next(self._numbers)}", resources)
            self.clusters[cluster] = made
        try:
            self.hold.wait(30)
            with self._lock:
                return self._made(cluster, made, task, _kind(resources))
        finally:
            self._under_way.pop(request, None)

    def _made(self, name: str, made: FakeCluster, task: Mapping[str, Any], kind: str) -> dict[str, Any]:
        if self.clusters.get(name) is not made:
            raise EngineError("RequestCancelled", f"{name} was taken down")
        if kind in self.refused:
            del self.clusters[name]
            raise EngineError("ResourcesUnavailableError", "Failed to provision", said=self.refused[kind])
        made.status, lost, self.lose_job = "UP", self.lose_job, False
        made.unready = lost
        if lost:
            raise AwayError("sky: the API server was killed")
        if not task.get("run"):
            return {"job": None, "usd_per_hour": self.usd_per_hour, "machine": kind}
        number = max(made.jobs, default=0) + 1
        made.jobs[number] = {"name": task["name"], "status": "RUNNING", "run": task["run"]}
        return {"job": number, "usd_per_hour": self.usd_per_hour, "machine": kind}

    def _endpoint(self, cluster: str, port: int) -> str:
        self._found(cluster)
        return f"127.0.0.1:{port}"

    def _cancel(self, cluster: str, job: int) -> None:
        with self._lock:
            self._found(cluster).jobs[job]["status"] = "CANCELLED"

    def _down(self, cluster: str) -> None:
        with self._lock:
            if self.stays > 0:
                self.stays -= 1
            else:
                self.clusters.pop(cluster, None)

    def _logs(self, cluster: str, job: int, last: int) -> list[str]:
        return [f"line of {self._found(cluster).jobs[job]['name']}"][-last:]

    def _found(self, cluster: str) -> FakeCluster:
        if cluster not in self.clusters:
            raise EngineError("ClusterDoesNotExist", f"Cluster {cluster!r} does not exist.")
        return self.clusters[cluster]


def _kind(resources: Mapping[str, Any]) -> str:
    return str(resources.get("instance_type") or resources.get("accelerators") or "")
