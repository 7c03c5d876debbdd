"""A home and its keeper, from outside: what the commands `up`, `down`, `status` and `logs` do."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from sqlalchemy.engine import make_url

from polyfleet.errors import LaunchError, PolyfleetError
from polyfleet.files import make_folder
from polyfleet.launch import ports, processes
from polyfleet.launch.drivers import drivers
from polyfleet.launch.home import STATE, Home, held, keeper_pid, keeper_runs, note, noted
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.local import home_hash
from polyfleet.launch.reconcile import GATE, Pace
from polyfleet.launch.words import reason
from polyfleet.settings import Settings
from polyfleet.terms.fleet import ENDPOINT, HERE, Replica, ReplicaSpec, ReplicaState

_END_HERE_S = 90.0
_END_ELSEWHERE_S = 900.0


def start_keeper(home: Home, wait_s: float = 10.0) -> None:
    """Start a keeper in a session of its own, and return once it holds the home or has ended: where one holds it
    already, the new one ends at once."""
    for folder in ("run", "logs"):
        make_folder(home.folder / folder)
    environment = os.environ | {STATE: home.state_url, "POLYFLEET_HOME": str(home.folder)}
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
    with held(home) as is_mine:
        if is_mine is None:
            return False
        note(home)
        _hand_password_to_gate(home)
        state = home.state()
        driver = drivers(home, state)
        keeper = Keeper(state, driver, home.routes_file, pace=pace, pid=os.getpid())
        try:
            keeper.run(ended or threading.Event(), is_mine)
        finally:
            keeper.close()
            driver.close()
        if state.wanted().closing:
            state.sign(None)
            state.forget_places()
            for path in (home.routes_file, home.folder / "run" / "keeper.json"):
                path.unlink(missing_ok=True)
        return True


def main() -> None:
    """`python -m polyfleet.launch`: the keeper that `up` starts. SIGTERM ends it and leaves what runs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)  # they tell every request
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
    theirs = noted(home.folder)
    if theirs is not None and theirs != home.public_state_url and keeper_runs(home):
        raise LaunchError(f"what runs here keeps its state in {theirs}: name that, or `polyfleet down` first")


def require_same_keys(home: Home, replicas: Sequence[ReplicaSpec]) -> None:
    """Raises LaunchError where the running keeper, and so the gate, has another value of a key's variable than this
    process: it would not hear of the new one."""
    pid = keeper_pid(home.folder)
    theirs = processes.environment_of(pid) if pid is not None and keeper_runs(home) else None
    if theirs is None:
        return
    for name in sorted({spec.key_env for spec in replicas if spec.key_env is not None}):
        if theirs.get(name) != os.environ.get(name):
            raise LaunchError(
                f"what runs here was started with another {name} than is set now; `polyfleet down` first, or keep the "
                "key in a file (`key_file`), which may change at any time"
            )


def check(home: Home, replicas: Sequence[ReplicaSpec]) -> None:
    """Ask the places outside this machine whether they would take these. Raises LaunchError or InputError with the
    first refusal; nothing has been changed then."""
    elsewhere = [spec for spec in replicas if spec.place != HERE]
    if not elsewhere:
        return
    places = drivers(home, home.state())
    try:
        places.check(elsewhere)
    finally:
        places.close()


def require_port(home: Home, gate: ReplicaSpec) -> None:
    """Raises LaunchError where something else than this home's gate has the endpoint's port."""
    running = home.here().list().get(GATE)
    if gate.port is not None and (running is None or running.spec.port != gate.port):
        ports.require_free(gate.port)


def follow(home: Home, wanted: Sequence[ReplicaSpec], timeout_s: float) -> Iterator[str]:
    """Lines that tell how the wanted replicas come, until all are ready as they are wanted.

    Raises LaunchError with the engine's last words where one fails again and again, or where the time is up.
    """
    state, deadline, begun = home.state(), time.monotonic() + timeout_s, time.monotonic()
    told: dict[str, tuple[ReplicaState, int, str]] = {}
    while True:
        asked = state.wanted()
        replicas = state.replicas() if asked.seen == asked.asked else {}
        for spec in wanted:
            replica = replicas.get(spec.id)
            if replica is None or replica.spec.digest != spec.digest:
                continue
            held_up = reason(replica.last_lines) if replica.spec.place != HERE else ""
            if told.get(spec.id) != (now := (replica.state, replica.restarts, held_up)):
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
        return f"{words} {reason(replica.last_lines)}".rstrip()
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
        close(home)
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


def close(home: Home, timeout_s: float | None = None) -> None:
    """Drain and stop everything of a home, its keeper last. Raises LaunchError where that takes too long: by default
    90 seconds, and 15 minutes where machines have to be given back."""
    require_same_state(home)
    here, begun = home.here(), time.monotonic()
    deadline = begun + (timeout_s or _END_HERE_S)
    try:
        state = home.state()
        timeout_s = timeout_s or (_END_HERE_S if set(state.places()) <= {HERE, ENDPOINT} else _END_ELSEWHERE_S)
        deadline = begun + timeout_s
        state.close()
    except PolyfleetError as error:  # a full disk, a database that is away: what runs must be stoppable all the same
        _end_by_hand(home, deadline)
        raise LaunchError(f"{error}; what ran was ended all the same") from None
    while keeper_runs(home) or here.list() or state.replicas() or state.places():
        if not state.wanted().closing:
            raise LaunchError("`polyfleet up` was run meanwhile: it stays up")
        if time.monotonic() >= deadline:
            raise LaunchError(
                f"not everything has ended after {timeout_s:g} s; `polyfleet status` shows what runs, `polyfleet logs "
                "keeper` which place cannot be looked at"
            )
        if not keeper_runs(home):
            start_keeper(home)
        time.sleep(0.1)
    gone_at = time.monotonic() + 2.0
    while keeper_pid(home.folder) is not None and time.monotonic() < gone_at:
        time.sleep(0.02)  # its lock is free a moment before its process has ended
    processes.end_all(f"{home_hash(home.folder)}/", 1.0)


def _end_by_hand(home: Home, deadline: float) -> None:
    """End the keeper, then the gate, then the rest, without a word to the state."""
    while keeper_runs(home) and time.monotonic() < deadline:
        pid = keeper_pid(home.folder)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
    pace, mark = Pace(), home_hash(home.folder)
    processes.end_all(f"{mark}/{GATE}", pace.gate_grace_s)
    processes.end_all(f"{mark}/", pace.grace_s)


def _hand_password_to_gate(home: Home) -> None:
    """The gate gets the state's password through the environment: its command line can be read by anyone here."""
    if password := make_url(home.state_url).password:
        os.environ["PGPASSWORD"] = str(password)
