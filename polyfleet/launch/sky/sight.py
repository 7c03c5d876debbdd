"""All clusters of a fleet and what runs on them, looked at again and again beside the keeper's loop."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.client import Cluster, Job, Sky
from polyfleet.launch.sky.notes import Notes
from polyfleet.launch.sky.refusals import AwayError
from polyfleet.launch.sky.task import manifest_of

_LOG = logging.getLogger("polyfleet.sky")
_EVERY_S = 10.0
_BUSY_EVERY_S = 3.0
"""While something comes or goes."""
_CONNECT_S = 2.0
_JOBS_S = 30.0
"""A machine that was reclaimed a moment ago answers never, and the next look, which would miss it, waits for this."""
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Machine:
    """A cluster as it was seen. `jobs` is None until they were asked for; `endpoints`: addresses by port."""

    cluster: Cluster
    jobs: tuple[Job, ...] | None = None
    endpoints: Mapping[int, str] = field(default_factory=dict)

    @property
    def live(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs or () if job.live)


class Sight:
    """The machines, kept up to date by a thread. While SkyPilot is away they stay as last seen.

    In that thread `before` is called with each machine before others see it, and `after` after each look.
    """

    def __init__(
        self, sky: Sky, notes: Notes, prefix: str, before: Callable[[Machine], None], after: Callable[[], None]
    ) -> None:  # fmt: skip
        self._sky, self._notes, self._prefix = sky, notes, prefix
        self._before, self._after = before, after
        self._machines: dict[str, Machine] = {}
        self._changed_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sky-look")
        self._woken, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.has_looked = False
        self.error: LaunchError | None = None
        self.is_busy = False

    def begin(self) -> None:
        """Start to look; nothing where it does already."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, daemon=True, name="sky-sight")
                self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._woken.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def require_looked(self) -> None:
        """Raises LaunchError until there was one whole look: what was not seen yet must not be started again."""
        self.begin()
        if not self.has_looked:
            raise self.error or AwayError("sky: SkyPilot is being asked what runs")

    def all(self) -> dict[str, Machine]:
        """By cluster."""
        with self._lock:
            return dict(self._machines)

    def put(self, machine: Machine) -> None:
        """What we did or saw ourselves just now, before the next look tells of it."""
        with self._lock:
            self._machines[machine.cluster.name] = machine
            self._changed_at[machine.cluster.name] = time.monotonic()

    def forget(self, cluster: str) -> None:
        """It was taken down."""
        with self._lock:
            self._machines.pop(cluster, None)
            self._changed_at[cluster] = time.monotonic()

    def wake(self) -> None:
        """Look again at once."""
        self._woken.set()

    def look(self) -> None:
        """One look. Raises LaunchError where SkyPilot does not answer; what was seen before stands then."""
        begun = time.monotonic()
        found = self._sky.clusters(f"{self._prefix}*", force=True)
        seen = list(self._pool.map(self._seen, found))
        for machine in seen:
            self._before(machine)
        with self._lock:
            newer = {name for name, at in self._changed_at.items() if at >= begun}
            kept = {name: machine for name, machine in self._machines.items() if name in newer}
            self._machines = {m.cluster.name: m for m in seen if m.cluster.name not in newer} | kept
            self._changed_at = {name: at for name, at in self._changed_at.items() if name in newer}
            self.has_looked, self.error = True, None

    def _follow(self) -> None:
        while not self._closed.is_set():
            self._woken.clear()
            try:
                self.look()
                self._after()
            except Exception as error:  # whatever SkyPilot answers, the next look must come
                if self._closed.is_set():
                    return
                self._note(error if isinstance(error, LaunchError) else AwayError(f"sky: {error!r}"))
            self._woken.wait(_BUSY_EVERY_S if self.is_busy else _EVERY_S)

    def _note(self, error: LaunchError) -> None:
        if self.error is None:
            _LOG.warning("%s", error)
        self.error = error

    def _seen(self, cluster: Cluster) -> Machine:
        known = self.all().get(cluster.name)
        if known is None or known.cluster.hash != cluster.hash:
            known = Machine(cluster)
        known = replace(known, cluster=cluster)
        if not cluster.is_up:
            return known
        try:
            if not self._all_accept(known):
                known = replace(known, jobs=tuple(self._sky.jobs(cluster.name, _JOBS_S)))
            if known.live:
                known = replace(known, endpoints=self.endpoints_of(known))
        except LaunchError as error:
            _LOG.info("%s: %s", cluster.name, error)
        return known

    def endpoints_of(self, machine: Machine) -> dict[int, str]:
        """Addresses of all ports that our replicas on it answer on; those that are known are not asked for again."""
        found = dict(machine.endpoints)
        for spec in self._notes.of(machine.cluster.name).values():
            port = manifest_of(spec).port
            if port not in found and (address := self._sky.endpoint(machine.cluster.name, port)):
                found[port] = address
        return found

    def _all_accept(self, machine: Machine) -> bool:
        """Whether all that should run on it takes connections: then its jobs, which take long, are not asked for."""
        noted = self._notes.of(machine.cluster.name)
        names = {job.name.partition(".")[0] for job in machine.live}
        if not noted or names != set(noted) or len(machine.live) != len(noted):
            return False
        ports = [manifest_of(spec).port for spec in noted.values()]
        return all(port in machine.endpoints and _accepts(machine.endpoints[port]) for port in ports)


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S):
            return True
    except (OSError, ValueError):
        return False
