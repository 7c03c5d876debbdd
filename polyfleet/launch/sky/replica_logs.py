"""What became of each replica, in `<home>/logs/sky/`, and what its job said last: its machine may be gone by then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from polyfleet.errors import LaunchError
from polyfleet.files import make_folder
from polyfleet.launch import log_file
from polyfleet.launch.sky.client import Job, Sky
from polyfleet.launch.sky.names import read_job
from polyfleet.launch.sky.sight import Machine
from polyfleet.launch.words import OWN, STARTING

_LAST_LINES = 50
_MOST_BYTES = 2**20
_FOLLOW_EVERY_S = 2.0


class ReplicaLogs:
    """The logs of one home's replicas. Writing never fails: a full disk stops no machine."""

    def __init__(self, folder: Path, sky: Sky) -> None:
        self._folder, self._sky = folder, sky
        self._ended: set[tuple[str, int]] = set()

    def begin(self, replica_id: str) -> None:
        """A new life. Raises InputError where there can be no log."""
        make_folder(self._folder)
        self._write(replica_id, [f"{STARTING} {replica_id} on a machine of SkyPilot, {datetime.now(UTC):%F %T} UTC"])

    def say(self, replica_id: str, line: str) -> None:
        self._write(replica_id, [f"{OWN}{line}"])

    def keep_last_words(self, machine: Machine) -> None:
        """Of jobs that have ended, once."""
        for job in machine.jobs or ():
            named, key = read_job(job.name), (machine.cluster.hash, job.id)
            if job.live or named is None or key in self._ended:
                continue
            self._ended.add(key)
            with contextlib.suppress(LaunchError):
                self._write(named[0], self._sky.logs(machine.cluster.name, job.id, _LAST_LINES))
            self.say(named[0], f"its job ended: {job.status}")

    def read(
        self, replica_id: str, live: tuple[str, Job] | None, *, last: int | None, follow: bool
    ) -> Iterator[str]:  # fmt: skip
        """Ours, then what its job says where it runs. Raises LaunchError where there is neither."""
        path = self._path(replica_id)
        own = list(log_file.read(path, last)) if path.exists() else []
        if live is None:
            if not own:
                raise LaunchError(f"{replica_id} has no log")
            yield from own
            return
        cluster, job = live
        said = self._sky.logs(cluster, job.id, None if follow else last)
        lines = [*own, *said]
        yield from lines[-last:] if last else lines
        while follow:
            time.sleep(_FOLLOW_EVERY_S)
            now = self._sky.logs(cluster, job.id, None)
            yield from now[len(said) :]
            said = now

    def tidy(self) -> None:
        """Raises OSError."""
        for path in self._folder.glob("*.log"):
            log_file.bound(path, _MOST_BYTES)

    def _path(self, replica_id: str) -> Path:
        return self._folder / f"{replica_id}.log"

    def _write(self, replica_id: str, lines: Iterable[str]) -> None:
        with contextlib.suppress(OSError), self._path(replica_id).open("a") as log:
            log.writelines(f"{line}\n" for line in lines)
