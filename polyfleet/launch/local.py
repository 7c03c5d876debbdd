"""Replicas as processes of this machine (Linux: /proc is read)."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from polyfleet.errors import LaunchError
from polyfleet.files import make_folder
from polyfleet.launch import log_file, ports, processes
from polyfleet.launch.driver import Alive, Started, StillThereError
from polyfleet.launch.engines import ENGINE_KEY, ENGINES, command_line, environment
from polyfleet.launch.reconcile import GATE
from polyfleet.launch.words import OWN, STARTING
from polyfleet.terms.fleet import Replica, ReplicaSpec

_SPEC = "POLYFLEET_SPEC"
_URL = "POLYFLEET_URL"
STATE_VARIABLES = ("POLYFLEET_STATE", "PGPASSWORD")
"""How the state is reached: the gate's to know, not the engines'."""
_LEFTOVER_GRACE_S = 1.0
_KEEP_ENVIRONMENT = {"SPT_NOENV": "1"}
"""Engines that rename their processes with setproctitle would write over the mark; this asks it to leave that alone."""


def home_hash(home: Path) -> str:
    """The name of a home in marks and tables: its place on this machine."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]


class LocalDriver:
    """Engines as processes, each the leader of its own group, with its log in `<home>/logs/`.

    Every process bears its mark, spec and address in its environment, and holds a lock on `<home>/run/<id>.lock` from
    before it exists until it is gone. So whatever dies at whatever moment, what runs can be found and taken over, and
    no second replica of an id can be started beside it.
    """

    def __init__(self, home: Path) -> None:
        if not sys.platform.startswith("linux"):
            raise LaunchError("replicas as processes of this machine run on Linux only")
        self.home = home.resolve()
        self.mark = home_hash(home)
        self._children: dict[int, str] = {}

    def start(self, spec: ReplicaSpec) -> Started:
        for folder in ("run", "logs"):
            make_folder(self.home / folder)
        with self._locked(spec.id) as lock, contextlib.ExitStack() as held:
            processes.end_all(self._mark_of(spec.id), _LEFTOVER_GRACE_S)
            port, passed = self._port(spec, held)
            url = f"http://{ports.HOST}:{port}"
            pid = self._spawn(spec, port, url, (lock, *passed))
        started = processes.start_time(pid)
        return Started(pid, started if started is not None else 0.0, url)

    def stop(self, replica: Replica, grace_s: float) -> None:
        processes.end_all(self._mark_of(replica.spec.id), grace_s)
        self._reap()

    def list(self) -> Mapping[str, Alive]:
        self._reap()
        found: dict[str, Alive] = {}
        for process in processes.marked(f"{self.mark}/"):
            replica_id = process.environment[processes.MARK].partition("/")[2]
            if process.is_leader and replica_id not in found:
                spec = _spec_of(process.environment, replica_id)
                found[replica_id] = Alive(spec, process.pid, process.started, process.environment.get(_URL, ""))
        self._reap()  # what died just before the look has its end in its log by now
        return found

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        path = self.log_path(replica_id)
        try:
            yield from log_file.follow(path, last) if follow else log_file.read(path, last)
        except OSError as error:
            raise LaunchError(f"{replica_id} has no log: {error.strerror}") from None

    def tidy(self) -> None:
        for path in (self.home / "logs").glob("*.log"):
            log_file.bound(path)

    def log_path(self, replica_id: str) -> Path:
        """Where its log is, whether it runs or not."""
        return self.home / "logs" / f"{replica_id}.log"

    def logged(self) -> tuple[str, ...]:
        """Ids that have a log here, the keeper among them."""
        return tuple(sorted(path.stem for path in (self.home / "logs").glob("*.log")))

    def _mark_of(self, replica_id: str) -> str:
        return f"{self.mark}/{replica_id}"

    @contextlib.contextmanager
    def _locked(self, replica_id: str) -> Iterator[int]:
        """The replica's lock, to be handed to its process. Raises StillThereError where one holds it."""
        path = self.home / "run" / f"{replica_id}.lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LaunchError(f"{path}: {error.strerror}") from None
        try:
            if not _lock(lock) and not (self._end_orphans(replica_id) and _lock(lock)):
                raise StillThereError(f"{replica_id} runs already, or is being started")
            yield lock
        finally:
            os.close(lock)

    def _end_orphans(self, replica_id: str) -> bool:
        """End children that hold the lock of a leader that is gone; False where a leader runs, or none is seen yet."""
        left = processes.marked(self._mark_of(replica_id))
        if not left or any(p.is_leader for p in left):
            return False
        processes.end_all(self._mark_of(replica_id), _LEFTOVER_GRACE_S)
        return True

    def _port(self, spec: ReplicaSpec, held: contextlib.ExitStack) -> tuple[int, tuple[int, ...]]:
        """A port, and the descriptors that hold it for the engine."""
        if spec.port is not None:
            ports.require_free(spec.port)
            return spec.port, ()
        option = ENGINES[spec.engine].shares_port
        if option is None:
            return ports.free_port(), ()
        reserved: socket.socket = held.enter_context(ports.reserve(option))
        return int(reserved.getsockname()[1]), (reserved.fileno(),)

    def _spawn(self, spec: ReplicaSpec, port: int, url: str, passed: tuple[int, ...]) -> int:
        marks = {processes.MARK: self._mark_of(spec.id), _SPEC: spec.model_dump_json(), _URL: url}
        command = command_line(spec, port)
        try:
            with self.log_path(spec.id).open("ab") as log:
                log.write(f"{STARTING} {spec.id} on {url}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode())
                log.flush()
                surroundings = _inherited(spec) | environment(spec, port) | marks
                pid = processes.spawn(command, surroundings, log, passed)
        except OSError as error:
            raise LaunchError(f"{spec.id}: {command[0]} cannot be started: {error.strerror}") from None
        self._children[pid] = spec.id
        return pid

    def _reap(self) -> None:
        """Take note of ended children in their logs, so that none stays behind as a zombie."""
        for pid, replica_id in tuple(self._children.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                self._children.pop(pid, None)
                continue
            if ended:
                self._children.pop(pid, None)
                with contextlib.suppress(OSError), self.log_path(replica_id).open("a") as log:
                    log.write(f"{OWN}{replica_id} {_end(status)}\n")


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _inherited(spec: ReplicaSpec) -> dict[str, str]:
    """The environment that a replica is given: this process's, less what reaches the state, and less the key that
    engines elsewhere ask for: here nobody but this machine can reach them."""
    withheld = () if spec.engine == GATE else (*STATE_VARIABLES, ENGINE_KEY)
    kept = {name: value for name, value in os.environ.items() if name not in withheld}
    return kept | _KEEP_ENVIRONMENT


def _spec_of(environment: Mapping[str, str], replica_id: str) -> ReplicaSpec:
    """What it was started as; where another version of polyfleet wrote that, something that differs from all wanted."""
    try:
        return ReplicaSpec.model_validate_json(environment.get(_SPEC, ""))
    except ValidationError:
        return ReplicaSpec(id=replica_id, workload="", served=("unknown",), engine="command", weights="")
