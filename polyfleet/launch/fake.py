"""A driver without machines, for tests: replicas are rows, time stands until it is moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import Alive, Started, StillThereError
from polyfleet.terms.fleet import Replica, ReplicaSpec


class FakeDriver:
    """Starts, stops and lists replicas in memory.

    `broken`: ids that die at once, with the lines they say. `started` and `stopped` tell what was asked, in order.
    """

    def __init__(self) -> None:
        self.alive: dict[str, Alive] = {}
        self.broken: dict[str, tuple[str, ...]] = {}
        self.lines: dict[str, list[str]] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self._pids = 1000

    def start(self, spec: ReplicaSpec) -> Started:
        if spec.id in self.alive:
            raise StillThereError(f"{spec.id} runs already")
        self._pids += 1
        self.started.append(spec.id)
        made = Alive(spec, self._pids, float(self._pids), f"http://127.0.0.1:{20_000 + self._pids}")
        self.lines.setdefault(spec.id, []).extend(self.broken.get(spec.id, ("started",)))
        if spec.id not in self.broken:
            self.alive[spec.id] = made
        return Started(made.pid, made.process_started, made.url)

    def stop(self, replica: Replica, grace_s: float) -> None:  # noqa: ARG002 - nothing here takes time
        self.stopped.append(replica.spec.id)
        self.alive.pop(replica.spec.id, None)

    def list(self) -> Mapping[str, Alive]:
        return dict(self.alive)

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:  # noqa: ARG002 - as the protocol says
        if replica_id not in self.lines:
            raise LaunchError(f"{replica_id} has no log")
        lines = self.lines[replica_id]
        yield from lines if last is None else lines[-last:]

    def tidy(self) -> None:
        """Nothing grows here."""

    def kill(self, replica_id: str) -> None:
        """It dies, by no wish of ours."""
        self.alive.pop(replica_id, None)
