"""Having replicas come up: each in a thread of its own, since SkyPilot takes minutes."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.client import Cluster, Job, Sky
from polyfleet.launch.sky.names import job_of, read_job
from polyfleet.launch.sky.notes import Notes
from polyfleet.launch.sky.offers import AbandonedError, RefusedError, rent
from polyfleet.launch.sky.refusal_book import RefusalBook
from polyfleet.launch.sky.refusals import EngineError, Refusal
from polyfleet.launch.sky.sight import Machine, Sight
from polyfleet.launch.sky.task import job_task, machine_task, manifest_of
from polyfleet.terms.fleet import ReplicaSpec

_LOG = logging.getLogger("polyfleet.sky")
_PAUSES_S = (5.0, 15.0, 30.0, 60.0)


@dataclass(eq=False)
class Coming:
    """A replica on its way. `trouble`: what it waits for, in a line."""

    spec: ReplicaSpec
    cluster: str
    trouble: str = "asking SkyPilot"
    abandoned: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def is_wanted(self) -> bool:
        return not self.abandoned.is_set()

    def wait_gone(self, timeout_s: float) -> bool:
        """Whether its thread has ended."""
        if self.thread is not None:
            self.thread.join(timeout_s)
            return not self.thread.is_alive()
        return True


class Bringer:
    """The replicas on their way. `say(replica id, line)` goes into a replica's log."""

    def __init__(
        self, sky: Sky, notes: Notes, book: RefusalBook, sight: Sight, prefix: str, fleet: str,
        say: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self._sky, self._notes, self._book, self._sight, self._say = sky, notes, book, sight, say
        self._prefix, self._fleet = prefix, fleet
        self._coming: dict[str, Coming] = {}
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def all(self) -> Mapping[str, Coming]:
        """By replica id; those that were abandoned are on it until their thread has ended."""
        with self._lock:
            return dict(self._coming)

    def begin(self, spec: ReplicaSpec, cluster: str) -> bool:
        """Have it come, whatever of it is there already; False where it is coming."""
        with self._lock:
            if spec.id in self._coming or self._closed.is_set():
                return False
            coming = self._coming[spec.id] = Coming(spec, cluster)
            coming.thread = threading.Thread(target=self._run, args=(coming,), daemon=True, name=f"sky-{spec.id}")
            coming.thread.start()
        return True

    def abandon(self, replica_id: str) -> Coming | None:
        """It is not wanted any more; what was coming, where it was."""
        with self._lock:
            coming = self._coming.get(replica_id)
            if coming is not None:
                coming.abandoned.set()
            return coming

    def lock_of(self, cluster: str) -> threading.Lock:
        """One at a time may change a cluster."""
        with self._lock:
            return self._locks[cluster]

    def close(self) -> None:
        """No retries from now on; what SkyPilot has under way goes on."""
        self._closed.set()
        for coming in self.all().values():
            coming.abandoned.set()

    def _run(self, coming: Coming) -> None:
        tries = 0
        try:
            while coming.is_wanted():
                try:
                    with self.lock_of(coming.cluster):
                        if coming.is_wanted():
                            self._bring(coming)
                    return
                except AbandonedError:
                    return
                except LaunchError as error:
                    if not coming.is_wanted():
                        return
                    if not _passes(error):
                        self._give_up(coming, error)
                        return
                    pause_s = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                    self._tell(coming, f"{error} (again in {pause_s:g} s)")
                    tries += 1
                    coming.abandoned.wait(pause_s)
        except Exception as error:  # whatever it is, its replica must not be taken to be coming for ever
            _LOG.exception("%s", coming.spec.id)
            self._give_up(coming, LaunchError(repr(error)))
        finally:
            with self._lock:
                self._coming.pop(coming.spec.id, None)
            self._sight.wake()

    def _give_up(self, coming: Coming, error: LaunchError) -> None:
        self._tell(coming, str(error))
        self._notes.remove(coming.cluster, coming.spec.id)

    def _tell(self, coming: Coming, line: str) -> None:
        coming.trouble = line
        self._say(coming.spec.id, line)
        _LOG.info("%s: %s", coming.spec.id, line)

    def _bring(self, coming: Coming) -> None:
        cluster = coming.cluster
        while request := self._sky.under_way(self._prefix).get(cluster):
            coming.trouble = "SkyPilot is making its machine, asked for before"
            self._sky.wait(request)
        found = next(iter(self._sky.clusters(cluster, force=True)), None)
        job = self._running_job(coming, found) if found and found.is_up else None
        if job is None and coming.is_wanted():
            job = self._submitted(coming, is_there=found is not None)
        if coming.is_wanted():
            self._show(coming, job)

    def _running_job(self, coming: Coming, found: Cluster) -> Job | None:
        """Its job where it runs; other jobs of the replica are ended."""
        kept: Job | None = None
        for job in reversed(self._sky.jobs(found.name)):
            named = read_job(job.name) if job.live else None
            if named is None or named[0] != coming.spec.id:
                continue
            if job.name == job_of(coming.spec) and kept is None:
                kept = job
            else:
                self._sky.cancel(found.name, job.id)
        return kept

    def _submitted(self, coming: Coming, *, is_there: bool) -> Job:
        """Its job, on the machine that is there, or on one that is rented for it."""
        spec, cluster = coming.spec, coming.cluster
        if is_there and (job := self._joined(coming)) is not None:
            return job
        task = machine_task(spec) if spec.machine else job_task(spec)

        def tell(line: str) -> None:
            self._tell(coming, line)

        made = rent(
            self._sky, self._book, spec, cluster, self._fleet, task, is_wanted=coming.is_wanted, tell=tell
        )  # fmt: skip
        self._tell(coming, f"its machine is {made.machine}")
        if spec.machine:
            made = self._sky.launch(cluster, job_task(spec), {}, manifest_of(spec).secrets)
        return Job(made.job or 0, job_of(spec), "", live=True)

    def _joined(self, coming: Coming) -> Job | None:
        """Its job on a machine that is there. A machine that takes none is given up: None."""
        spec, cluster = coming.spec, coming.cluster
        coming.trouble = "its machine is there, its job is being started"
        try:
            made = self._sky.launch(cluster, job_task(spec), {}, manifest_of(spec).secrets)
        except EngineError as error:
            if error.refusal is Refusal.SETUP or not coming.is_wanted():
                raise
            self._tell(coming, f"its machine is given up: {error}")
            if set(self._notes.of(cluster)) <= {spec.id}:
                self._sky.down(cluster)
                return None
            raise
        return Job(made.job or 0, job_of(spec), "", live=True)

    def _show(self, coming: Coming, job: Job | None) -> None:
        """Put it in sight at once: the next look may take its time."""
        found = next(iter(self._sky.clusters(coming.cluster, force=False)), None)
        if found is None or job is None:
            return
        known = self._sight.all().get(found.name)
        is_same = known is not None and known.cluster.hash == found.hash
        machine = known if known is not None and is_same else Machine(found)
        others = tuple(each for each in machine.jobs or () if each.id != job.id)
        machine = Machine(found, (*others, job), machine.endpoints)
        self._sight.put(Machine(found, machine.jobs, self._sight.endpoints_of(machine)))


def _passes(error: LaunchError) -> bool:
    if isinstance(error, RefusedError):
        return error.passes
    if isinstance(error, EngineError):
        return error.refusal in (Refusal.AWAY, Refusal.CAPACITY)
    return error.can_retry
