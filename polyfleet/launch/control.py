"""A home and its keeper, from outside: what the commands `up`, `down`, `status` and `logs` do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from polyfleet.database import default_url, open_database
from polyfleet.errors import LaunchError, PolyfleetError
from polyfleet.files import make_folder, write_whole
from polyfleet.launch import ports, processes
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.local import LocalDriver, home_hash
from polyfleet.launch.reconcile import GATE, Pace
from polyfleet.launch.state import State
from polyfleet.launch.words import reason
from polyfleet.settings import Settings
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState

_STATE = "POLYFLEET_STATE"


@dataclass(frozen=True)
class Home:
    """A project's `.polyfleet/` and the state that goes with it. `state_url` may hold a password: never print it."""

    folder: Path
    state_url: str

    @classmethod
    def of(cls, settings: Settings, state_url: str | None = None) -> Home:
        """The home of the settings. Without a `state_url`: the one that its keeper was started with, else its file."""
        folder = settings.home.resolve()
        url = state_url or os.environ.get(_STATE) or _noted(folder) or default_url(Settings(folder))
        return cls(folder, url)

    @property
    def is_used(self) -> bool:
        """Whether anything was ever brought up here."""
        return (self.folder / "run").is_dir()

    @property
    def routes_file(self) -> Path:
        return self.folder / "routes.json"

    @property
    def public_state_url(self) -> str:
        """The state's address without its password."""
        address = make_url(self.state_url)
        return address._replace(password=None).render_as_string(hide_password=False)

    def state(self) -> State:
        """Its rows. Raises InputError where the database cannot be opened."""
        identity = _identity(self.folder)  # makes the folder that a state of its own lies in
        return State(open_database(self.state_url), identity)

    def driver(self) -> LocalDriver:
        return LocalDriver(self.folder)


def keeper_runs(home: Home) -> bool:
    """Whether a keeper holds the home."""
    try:
        lock = os.open(home.folder / "run" / "keeper.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _lock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def start_keeper(home: Home, wait_s: float = 10.0) -> None:
    """Start a keeper in a session of its own, and return once it holds the home or has ended: where one holds it
    already, the new one ends at once."""
    for folder in ("run", "logs"):
        make_folder(home.folder / folder)
    environment = os.environ | {_STATE: home.state_url, "POLYFLEET_HOME": str(home.folder)}
    with (home.folder / "logs" / "keeper.log").open("ab") as log:
        pid = processes.spawn([sys.executable, "-m", "polyfleet.launch"], environment, log)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline and not keeper_runs(home) and not _has_ended(pid):
        time.sleep(0.02)


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


def keep(home: Home, *, pace: Pace | None = None, ended: threading.Event | None = None) -> bool:
    """Be the home's keeper until it is closed; False at once where another is."""
    with _held(home) as is_mine:
        if is_mine is None:
            return False
        _note(home)
        _hand_password_to_gate(home)
        state = home.state()
        keeper = Keeper(state, home.driver(), home.routes_file, pace=pace, pid=os.getpid())
        try:
            keeper.run(ended or threading.Event(), is_mine)
        finally:
            keeper.close()
        if state.wanted().closing:
            state.sign(None)
            for path in (home.routes_file, home.folder / "run" / "keeper.json"):
                path.unlink(missing_ok=True)
        return True


def main() -> None:
    """`python -m polyfleet.launch`: the keeper that `up` starts. SIGTERM ends it and leaves what runs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        keep(Home.of(Settings.from_environment()), ended=ended)
    except PolyfleetError as error:
        sys.exit(f"error: {error}")


def ensure_keeper(home: Home, timeout_s: float = 20.0) -> None:
    """Return once a keeper holds the home. Raises LaunchError with the keeper's own words where none comes up."""
    deadline = time.monotonic() + timeout_s
    while not keeper_runs(home):
        if time.monotonic() >= deadline:
            lines = (home.folder / "logs" / "keeper.log").read_text(errors="replace").splitlines()[-3:]
            raise LaunchError("the keeper does not start: " + " / ".join(lines))
        start_keeper(home)


def require_same_state(home: Home) -> None:
    """Raises LaunchError where the home's keeper keeps its state elsewhere: it would not hear of what is asked here."""
    noted = _noted(home.folder)
    if noted is not None and noted != home.public_state_url and keeper_runs(home):
        raise LaunchError(f"what runs here keeps its state in {noted}: name that, or `polyfleet down` first")


def require_port(home: Home, gate: ReplicaSpec) -> None:
    """Raises LaunchError where something else than this home's gate has the endpoint's port."""
    running = home.driver().list().get(GATE)
    if gate.port is not None and (running is None or running.spec.port != gate.port):
        ports.require_free(gate.port)


def follow(home: Home, wanted: Sequence[ReplicaSpec], timeout_s: float) -> Iterator[str]:
    """Lines that tell how the wanted replicas come, until all are ready as they are wanted.

    Raises LaunchError with the engine's last words where one fails again and again, or where the time is up.
    """
    state, deadline, begun = home.state(), time.monotonic() + timeout_s, time.monotonic()
    told: dict[str, tuple[ReplicaState, int]] = {}
    while True:
        asked = state.wanted()
        replicas = state.replicas() if asked.seen == asked.asked else {}
        for spec in wanted:
            replica = replicas.get(spec.id)
            if replica is None or replica.spec.digest != spec.digest:
                continue
            if told.get(spec.id) != (now := (replica.state, replica.restarts)):
                told[spec.id] = now
                yield _line(replica, time.monotonic() - begun)
            if replica.state is ReplicaState.FAILING:
                raise LaunchError(f"{spec.id} does not start; its last lines:\n" + _indented(replica.last_lines))
        if all(told.get(spec.id, (None,))[0] is ReplicaState.READY for spec in wanted):
            return
        if time.monotonic() >= deadline:
            late = [spec.id for spec in wanted if told.get(spec.id, (None,))[0] is not ReplicaState.READY]
            raise LaunchError(
                f"not ready after {timeout_s:g} s: {', '.join(late)}; they are still being started, see "
                f"`polyfleet status` and `polyfleet logs {late[0]}`"
            )
        if not keeper_runs(home):
            start_keeper(home)
        time.sleep(0.1)


def _line(replica: Replica, after_s: float) -> str:
    words = f"{replica.spec.id:<12} {replica.state.value:<9}"
    if replica.state is ReplicaState.READY:
        return f"{words} {replica.url}  after {after_s:.1f} s"
    if not replica.restarts:
        return words.rstrip()
    times = "once" if replica.restarts == 1 else f"{replica.restarts} times"
    return f"{words} died {times}: {reason(replica.last_lines)}"


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"


@contextlib.contextmanager
def in_foreground(home: Home) -> Iterator[None]:
    """Take everything down at the end, also after Ctrl-C or SIGTERM."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        close(home, 90.0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, before)


def wait_for_end(home: Home) -> None:
    """Return on Ctrl-C or SIGTERM, or once the home is closed from elsewhere; a keeper that dies meanwhile is started
    again. A signal is noted and not raised: in the middle of a transaction it would leave the state locked."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    state = home.state()
    while not ended.is_set() and not state.wanted().closing:
        if not keeper_runs(home):
            start_keeper(home)
        ended.wait(0.5)


def close(home: Home, timeout_s: float) -> None:
    """Drain and stop everything of a home, its keeper last. Raises LaunchError where that takes too long."""
    require_same_state(home)
    driver, deadline = home.driver(), time.monotonic() + timeout_s
    try:
        state = home.state()
        state.close()
    except PolyfleetError as error:  # a full disk, a database that is away: what runs must be stoppable all the same
        _end_by_hand(home, deadline)
        raise LaunchError(f"{error}; what ran was ended all the same") from None
    while keeper_runs(home) or driver.list():
        if not state.wanted().closing:
            raise LaunchError("`polyfleet up` was run meanwhile: it stays up")
        if time.monotonic() >= deadline:
            raise LaunchError(f"not everything has ended after {timeout_s:g} s; `polyfleet status` shows what runs")
        if not keeper_runs(home):
            start_keeper(home)
        time.sleep(0.1)
    processes.end_all(f"{home_hash(home.folder)}/", 1.0)


def _end_by_hand(home: Home, deadline: float) -> None:
    """End the keeper, then the gate, then the rest, without a word to the state."""
    while keeper_runs(home) and time.monotonic() < deadline:
        pid = _keeper_pid(home.folder)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
    pace, mark = Pace(), home_hash(home.folder)
    processes.end_all(f"{mark}/{GATE}", pace.gate_grace_s)
    processes.end_all(f"{mark}/", pace.grace_s)


@contextlib.contextmanager
def _held(home: Home) -> Iterator[Callable[[], bool] | None]:
    """Hold the home; gives what tells whether it is still the one held (a folder may be removed and made anew), or None
    where another keeper holds it."""
    make_folder(home.folder / "run")
    path = home.folder / "run" / "keeper.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield (lambda: _is_file(lock, path)) if _lock_soon(lock) else None
    finally:
        os.close(lock)


def _identity(folder: Path) -> str:
    """The name of a home in a database that several machines share: made up once, and kept in the home."""
    make_folder(folder / "run")
    path = folder / "run" / "id"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as made:
            made.write(secrets.token_hex(12))
            made.flush()
            with contextlib.suppress(FileExistsError):  # another process was first, and its name counts
                os.link(made.name, path)
    return path.read_text().strip()


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_soon(descriptor: int) -> bool:
    """Lock, or find it locked for half a second: who only looks whether a keeper runs holds it for a moment."""
    deadline = time.monotonic() + 0.5
    while not (locked := _lock(descriptor)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return locked


def _note(home: Home) -> None:
    """Leave word of the state in use, so that the other commands find it."""
    write_whole(home.folder / "run" / "keeper.json", json.dumps({"pid": os.getpid(), "state": home.public_state_url}))


def _noted(folder: Path) -> str | None:
    """The state that the keeper was started with."""
    state = _note_of(folder).get("state")
    return state if isinstance(state, str) else None


def _keeper_pid(folder: Path) -> int | None:
    """The keeper's process, where the one of that number is a keeper still."""
    pid = _note_of(folder).get("pid")
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    return pid if isinstance(pid, int) and b"polyfleet.launch" in command else None


def _note_of(folder: Path) -> dict[str, object]:
    try:
        noted = json.loads((folder / "run" / "keeper.json").read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _hand_password_to_gate(home: Home) -> None:
    """The gate gets the state's password through the environment: its command line can be read by anyone here."""
    if password := make_url(home.state_url).password:
        os.environ["PGPASSWORD"] = str(password)
