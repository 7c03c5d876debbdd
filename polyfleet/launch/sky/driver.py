"""The launcher's seam to SkyPilot."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from polyfleet.errors import LaunchError
from polyfleet.launch import log_file
from polyfleet.launch.driver import Alive, Started, StillThereError
from polyfleet.launch.local import home_hash
from polyfleet.launch.recipes.docker import SECRETS
from polyfleet.launch.sky.bringing import Bringer
from polyfleet.launch.sky.checking import require_rentable
from polyfleet.launch.sky.client import Job, Sky
from polyfleet.launch.sky.ending import Ending
from polyfleet.launch.sky.names import cluster_of, prefix_of, read_job
from polyfleet.launch.sky.notes import Notes
from polyfleet.launch.sky.reading import IDLE, coming, doubles, idle, orphans, running
from polyfleet.launch.sky.refusal_book import RefusalBook
from polyfleet.launch.sky.refusals import Fact
from polyfleet.launch.sky.replica_logs import ReplicaLogs
from polyfleet.launch.sky.sight import Sight
from polyfleet.launch.sky.talk import Ask, Talk
from polyfleet.launch.sky.task import manifest_of
from polyfleet.terms.fleet import Replica, ReplicaSpec


class SkyDriver:
    """Replicas as jobs on clusters of SkyPilot, one cluster for each machine.

    Whatever dies at whatever moment, all of it is found again: clusters are named by the home and the machine, jobs by
    the replica's id and digest, and what each was started as is noted in `<home>/run/sky/` before its machine is asked
    for. `identity` is the home's name, of which the first 8 characters count. `ask` stands in for SkyPilot's process.
    """

    def __init__(self, home: Path, identity: str = "", ask: Ask | None = None) -> None:
        home = home.resolve()
        self._fleet = (identity or home_hash(home))[:8]
        self._prefix = prefix_of(self._fleet)
        self._log = home / "logs" / "sky.log"
        self._talk = None if ask is not None else Talk(self._log, _secrets())
        self._sky = Sky(ask if ask is not None else self._talk.ask)  # type: ignore[union-attr]  # one of both is there
        self._notes = Notes(home / "run" / "sky")
        self._book = RefusalBook(home / "run" / "sky" / "refusals.jsonl")
        self._logs = ReplicaLogs(home / "logs" / "sky", self._sky)
        self._sight = Sight(self._sky, self._notes, self._prefix, self._logs.keep_last_words, self._after_look)
        self._bringer = Bringer(
            self._sky, self._notes, self._book, self._sight, self._prefix, self._fleet, self._logs.say
        )  # fmt: skip
        self._ending = Ending(self._sky, self._notes, self._sight, self._bringer, self._logs, self._prefix)
        self._starting = threading.Lock()

    def check(self, specs: Sequence[ReplicaSpec]) -> None:
        """Whether all of this could be rented, before any of it is. Raises LaunchError with the first reason."""
        require_rentable(self._sky, specs, self._fleet)

    def facts(self) -> Sequence[Fact]:
        """Refusals and changed prices, the oldest first."""
        return self._book.all()

    def start(self, spec: ReplicaSpec) -> Started:
        self._sight.require_looked()
        manifest_of(spec)
        cluster = cluster_of(self._fleet, spec)
        with self._starting:
            if {spec.id, cluster} & self._ending.now or spec.id in self._running() or spec.id in self._bringer.all():
                raise StillThereError(f"{spec.id} runs already, or is just being ended")
            self._logs.begin(spec.id)
            self._notes.write(cluster, spec)
            self._bringer.begin(spec, cluster)
        found = coming(spec, "")
        return Started(found.pid, found.process_started, found.url)

    def stop(self, replica: Replica, grace_s: float) -> None:  # noqa: ARG002 - SkyPilot gives what it ends its own grace
        self._sight.require_looked()
        if replica.spec.id.startswith(IDLE):
            self._ending.end_idle(replica.spec.id)
        else:
            self._ending.end(replica.spec.id, self._cluster_of(replica.spec))

    def list(self) -> Mapping[str, Alive]:
        """As seen last; what was begun since, too. Raises LaunchError until there was a first look."""
        self._sight.require_looked()
        going = self._bringer.all()
        found = {i: coming(each.spec, each.trouble) for i, each in going.items()} | self._running()
        idle_now = [idle(machine, self._prefix) for machine in self._ending.idle().values()]
        found |= {one.spec.id: one for one in idle_now}
        self._sight.is_busy = bool(self._ending.now) or any(not alive.url for alive in found.values())
        return found

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        """What became of it, and where it runs what it says."""
        return self._logs.read(replica_id, self._live_job(replica_id), last=last, follow=follow)

    def tidy(self) -> None:
        self._logs.tidy()
        with contextlib.suppress(FileNotFoundError):
            log_file.bound(self._log)

    def close(self) -> None:
        """Let go of threads and of SkyPilot's process; machines stay, and what is under way goes on."""
        self._bringer.close()
        self._sight.close()
        if self._talk is not None:
            self._talk.close()

    def _running(self) -> dict[str, Alive]:
        found: dict[str, Alive] = {}
        for name, machine in self._sight.all().items():
            found |= running(machine, self._notes.of(name))
        return found

    def _after_look(self) -> None:
        """What a look shows to be undone: jobs that are there twice, and jobs that never were."""
        for name, machine in self._sight.all().items():
            for job in doubles(machine):
                with contextlib.suppress(LaunchError):
                    self._sky.cancel(name, job.id)
            for spec in orphans(machine, self._notes.of(name)):
                if spec.id not in self._ending.now:
                    self._bringer.begin(spec, name)
        self._follow_up_notes()

    def _follow_up_notes(self) -> None:
        """Of replicas whose machine is not there: it is being made, or is gone."""
        there, busy = self._sight.all(), {*self._bringer.all(), *self._ending.now}
        missing = {c: noted for c, noted in self._notes.all().items() if c not in there and not busy & {*noted}}
        under_way = self._sky.under_way(self._prefix) if missing else {}
        pairs = [(cluster, spec) for cluster, noted in missing.items() for spec in noted.values()]
        for cluster, spec in pairs:
            if cluster in under_way:
                self._bringer.begin(spec, cluster)
                continue
            with self._starting:  # a note is written a moment before its replica is on its way
                if not {cluster, spec.id} & {*self._sight.all(), *self._bringer.all()}:
                    self._logs.say(spec.id, "its machine is not there: never had, reclaimed, or ended by somebody else")
                    self._notes.remove(cluster, spec.id)

    def _cluster_of(self, spec: ReplicaSpec) -> str:
        """Where a replica is: what it was started as may not be known."""
        for name, machine in self._sight.all().items():
            if spec.id in running(machine, self._notes.of(name)):
                return name
        going = self._bringer.all().get(spec.id)
        return going.cluster if going is not None else cluster_of(self._fleet, spec)

    def _live_job(self, replica_id: str) -> tuple[str, Job] | None:
        """Its cluster and job where it runs. A driver that has seen nothing yet looks once."""
        if not self._sight.has_looked:
            self._sight.look()
        for name, machine in self._sight.all().items():
            for job in machine.live:
                if (read_job(job.name) or ("",))[0] == replica_id:
                    return name, job
        return None


def _secrets() -> dict[str, str]:
    """Those that tasks may name and that are set."""
    return {name: os.environ[name] for name in SECRETS if os.environ.get(name)}
