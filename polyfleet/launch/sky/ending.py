"""Ending replicas and machines, until the cloud has nothing left of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import StillThereError
from polyfleet.launch.sky.bringing import Bringer
from polyfleet.launch.sky.client import Sky
from polyfleet.launch.sky.names import read_job
from polyfleet.launch.sky.notes import Notes
from polyfleet.launch.sky.reading import idle, orphans, running
from polyfleet.launch.sky.replica_logs import ReplicaLogs
from polyfleet.launch.sky.sight import Machine, Sight

_KEEP_IDLE_S = 90.0
"""A machine whose replica died is kept for so long: it is mostly started again within a minute."""
_JOIN_S = 120.0
_TRIES = 3
_LOOK_EVERY_S = 1.0


class Ending:
    """What is being ended. `now` holds the ids of replicas, and the clusters of idle machines."""

    def __init__(
        self, sky: Sky, notes: Notes, sight: Sight, bringer: Bringer, logs: ReplicaLogs, prefix: str
    ) -> None:  # fmt: skip
        self._sky, self._notes, self._sight = sky, notes, sight
        self._bringer, self._logs, self._prefix = bringer, logs, prefix
        self._lock = threading.Lock()
        self._idle_since: dict[str, float] = {}
        self._now: set[str] = set()

    @property
    def now(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._now)

    def idle(self) -> dict[str, Machine]:
        """Machines on which nothing runs and nothing is coming, by cluster."""
        busy = {each.cluster for each in self._bringer.all().values()}
        found = {}
        for name, machine in self._sight.all().items():
            is_known = machine.jobs is not None or not machine.cluster.is_up
            if name not in busy and is_known and not machine.live and not orphans(machine, self._notes.of(name)):
                found[name] = machine
        with self._lock:
            now = time.monotonic()
            self._idle_since = {name: self._idle_since.get(name, now) for name in found}
        return found

    def end(self, replica_id: str, cluster: str) -> None:
        """End a replica, and its machine where nothing else is on it. Raises LaunchError where it does not go."""
        with self._marked(replica_id):
            if self._others(cluster, replica_id):
                self._end_job(cluster, replica_id)
            else:
                self._end_machine(cluster, replica_id)

    def end_idle(self, replica_id: str) -> None:
        """Wait whether an idle machine is used again, then take it down."""
        while cluster := self._idle_named(replica_id):
            idle_s = time.monotonic() - self._idle_since.get(cluster, float("-inf"))
            if idle_s >= _KEEP_IDLE_S or not self._notes.of(cluster):
                with self._marked(cluster), self._bringer.lock_of(cluster):
                    if cluster in self.idle():
                        for noted in self._notes.of(cluster):
                            self._notes.remove(cluster, noted)
                        self._down(cluster)
                return
            time.sleep(_LOOK_EVERY_S)

    def _idle_named(self, replica_id: str) -> str:
        found = (name for name, m in self.idle().items() if idle(m, self._prefix).spec.id == replica_id)
        return next(found, "")

    def _end_machine(self, cluster: str, replica_id: str) -> None:
        """A launch under way is ended by SkyPilot, which takes down what there is of it."""
        self._logs.say(replica_id, "its machine is being taken down")
        going = self._bringer.abandon(replica_id)
        self._sky.down(cluster)
        if going is not None and not going.wait_gone(_JOIN_S):
            raise StillThereError(f"{replica_id}: SkyPilot is still asking for its machine")
        with self._bringer.lock_of(cluster):
            self._down(cluster)
            self._notes.remove(cluster, replica_id)

    def _end_job(self, cluster: str, replica_id: str) -> None:
        """The machine stays, for others."""
        going = self._bringer.abandon(replica_id)
        if going is not None and not going.wait_gone(_JOIN_S):
            raise StillThereError(f"{replica_id}: SkyPilot is still starting it")
        with self._bringer.lock_of(cluster):
            for job in self._sky.jobs(cluster):
                if job.live and (read_job(job.name) or ("",))[0] == replica_id:
                    self._sky.cancel(cluster, job.id)
            self._notes.remove(cluster, replica_id)
            machine = self._sight.all().get(cluster)
            if machine is not None:
                self._sight.put(Machine(machine.cluster, tuple(self._sky.jobs(cluster)), machine.endpoints))

    def _down(self, cluster: str) -> None:
        """Returns once its cloud, asked anew, has nothing of it."""
        for _ in range(_TRIES):
            if not self._sky.clusters(cluster, force=True):
                self._sight.forget(cluster)
                return
            self._sky.down(cluster)
        raise LaunchError(f"sky: {cluster} does not go; see `sky status`, and the cloud's own console")

    def _others(self, cluster: str, replica_id: str) -> bool:
        """Whether another replica is on a machine, or is to be."""
        machine, noted = self._sight.all().get(cluster), self._notes.of(cluster)
        live = running(machine, noted) if machine is not None else {}
        there = {*live, *noted, *(i for i, each in self._bringer.all().items() if each.cluster == cluster)}
        return bool(there - self.now - {replica_id})

    @contextlib.contextmanager
    def _marked(self, name: str) -> Iterator[None]:
        with self._lock:
            if name in self._now:
                raise StillThereError(f"{name} is just being ended")
            self._now.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._now.discard(name)
