"""What SkyPilot can be asked, in its words made ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyfleet.launch.sky.refusals import EngineError
from polyfleet.launch.sky.talk import Ask

_QUICK_S = 120.0
_LAUNCH_S = 3600.0
_DOWN_S = 900.0


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a cluster. `live`: it runs, or is about to. `status` is empty where it was begun a moment ago."""

    id: int
    name: str
    status: str
    live: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as SkyPilot has it. `hash` tells one life of the name from the next; `told` is what holds it up."""

    name: str
    status: str
    hash: str
    labels: Mapping[str, str]
    told: str = ""

    @property
    def is_up(self) -> bool:
        return self.status == "UP"


@dataclass(frozen=True, slots=True)
class Launched:
    """What a launch came to. `usd_per_hour`: SkyPilot's own price of the machine, None where it knows none."""

    job: int | None
    usd_per_hour: float | None
    machine: str


@dataclass(frozen=True, slots=True)
class Sky:
    """SkyPilot, asked through `ask`. Methods raise EngineError with its refusal, AwayError where no answer came."""

    ask: Ask

    def hello(self) -> str:
        """Its version, once its API server answers."""
        return str(self.ask("hello", 2 * _QUICK_S)["version"])

    def enabled(self, clouds: Sequence[str]) -> frozenset[str]:
        """Which of these clouds can be used, in lower case."""
        return frozenset(self.ask("check", 3 * _QUICK_S, clouds=list(clouds))["enabled"])

    def price(self, resources: Mapping[str, Any]) -> float | None:
        """Dollars per hour of what it would rent; nothing is touched."""
        usd: float | None = self.ask("price", _QUICK_S, resources=dict(resources))["usd_per_hour"]
        return usd

    def clusters(self, pattern: str, *, force: bool) -> list[Cluster]:
        """Clusters by name; as the cloud has them where `force`, else as SkyPilot saw them last."""
        found = self.ask("status", 2 * _QUICK_S, pattern=pattern, force=force)
        return [Cluster(c["name"], c["status"], c["hash"], c["labels"], c["told"]) for c in found]

    def jobs(self, cluster: str, timeout_s: float = _QUICK_S) -> list[Job]:
        """All jobs of a cluster, the newest first; ended ones too. They are asked of the machine itself: one that was
        never set up, whose cluster can be called UP all the same, has none."""
        try:
            told = self.ask("queue", timeout_s, cluster=cluster)
        except EngineError as error:
            if error.type != "ClusterNotUpError":
                raise
            return []
        found = [Job(job["id"], job["name"], job["status"], job["live"]) for job in told]
        return sorted(found, key=lambda job: -job.id)

    def under_way(self, prefix: str) -> dict[str, str]:
        """Launches that the API server has under way, whoever asked: request by cluster."""
        return {found["cluster"]: found["id"] for found in self.ask("requests", _QUICK_S, pattern=prefix)}

    def wait(self, request: str) -> None:
        """Return once a request has ended, however it did."""
        self.ask("wait", _LAUNCH_S, request=request)

    def launch(
        self, cluster: str, task: Mapping[str, Any], resources: Mapping[str, Any], secrets: Sequence[str]
    ) -> Launched:
        """Have a cluster of this name, and a job on it where the task runs something. Takes minutes."""
        made = self.ask(
            "launch", _LAUNCH_S, cluster=cluster, task=dict(task), resources=dict(resources), secrets=list(secrets)
        )
        return Launched(made["job"], made["usd_per_hour"], made["machine"])

    def endpoint(self, cluster: str, port: int) -> str:
        """`HOST:PORT` under which a port is reached; empty where it is not known yet."""
        return str(self.ask("endpoint", _QUICK_S, cluster=cluster, port=port))

    def cancel(self, cluster: str, job: int) -> None:
        self.ask("cancel", _QUICK_S, cluster=cluster, job=job)

    def down(self, cluster: str) -> None:
        """Take a cluster down; returns once its cloud has nothing of it left."""
        self.ask("down", _DOWN_S, cluster=cluster)

    def logs(self, cluster: str, job: int, last: int | None) -> list[str]:
        found: list[str] = self.ask("logs", _QUICK_S, cluster=cluster, job=job, last=last or 0)
        return found
