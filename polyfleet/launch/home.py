"""A home: a project's `.polyfleet/`, the state that goes with it, and who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from polyfleet.database import default_url, open_database
from polyfleet.files import make_folder, write_whole
from polyfleet.launch.local import LocalDriver
from polyfleet.launch.state import State
from polyfleet.settings import Settings

STATE = "POLYFLEET_STATE"
"""The environment variable that names the state."""


@dataclass(frozen=True)
class Home:
    """A project's `.polyfleet/` and the state that goes with it. `state_url` may hold a password: never print it."""

    folder: Path
    state_url: str

    @classmethod
    def of(cls, settings: Settings, state_url: str | None = None) -> Home:
        """The home of the settings. Without a `state_url`: the one that its keeper was started with, else its file."""
        folder = settings.home.resolve()
        url = state_url or os.environ.get(STATE) or noted(folder) or default_url(Settings(folder))
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

    @property
    def identity(self) -> str:
        """Its name in what it shares with other homes: a database, a namespace, an account. Made up once, kept here."""
        return _identity(self.folder)

    def state(self) -> State:
        """Its rows. Raises InputError where the database cannot be opened."""
        identity = self.identity  # makes the folder that a state of its own lies in
        return State(open_database(self.state_url), identity)

    def here(self) -> LocalDriver:
        """What runs of it on this machine."""
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


@contextlib.contextmanager
def held(home: Home) -> Iterator[Callable[[], bool] | None]:
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


def note(home: Home) -> None:
    """Leave word of the state in use, so that the other commands find it."""
    write_whole(home.folder / "run" / "keeper.json", json.dumps({"pid": os.getpid(), "state": home.public_state_url}))


def noted(folder: Path) -> str | None:
    """The state that the keeper was started with."""
    state = _note_of(folder).get("state")
    return state if isinstance(state, str) else None


def keeper_pid(folder: Path) -> int | None:
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
