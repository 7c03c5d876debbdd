"""Processes of this machine, read from /proc: which are ours, since when, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_DEAD = ("Z", "X")
MARK = "POLYFLEET_REPLICA"
"""Environment variable that every process of a replica bears: `HOME-HASH/ID`. It outlives whoever started it."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that runs. `started`: seconds from the machine's boot. A leader began its own process group."""

    pid: int
    started: float
    group: int
    environment: Mapping[str, str]

    @property
    def is_leader(self) -> bool:
        return self.pid == self.group


def spawn(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], passed: Sequence[int] = ()) -> int:
    """Start a process in a session of its own, that goes on when this one ends; gives its pid. `passed`: descriptors
    that it gets. Raises OSError where there is no such program."""
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        pass_fds=passed,
    )  # fmt: skip
    child.returncode = 0  # else it would warn that a child outlives it, which is what is wanted here
    _wait_for_environment(child.pid)
    return child.pid


def _wait_for_environment(pid: int) -> None:
    """A program is told of as started a moment before the kernel shows its environment, by which it is found again."""
    given_up_at = time.monotonic() + 1.0
    while time.monotonic() < given_up_at and start_time(pid) is not None:
        with contextlib.suppress(OSError):
            if (_PROC / str(pid) / "environ").read_bytes():
                return
        time.sleep(0.001)


def start_time(pid: int) -> float | None:
    """When a process started (seconds from boot); None where none runs under this number."""
    status = _status(pid)
    return None if status is None else status[1]


def environment_of(pid: int) -> Mapping[str, str] | None:
    """The environment that a process was started with; None where it cannot be read."""
    try:
        return dict(_pairs((_PROC / str(pid) / "environ").read_bytes()))
    except OSError:
        return None


def marked(mark: str) -> list[Process]:
    """All running processes with this mark, or with any mark of a home where it ends with `/`; oldest first."""
    found = (_read(int(entry), mark) for entry in os.listdir(_PROC) if entry.isdigit())
    return sorted((p for p in found if p is not None), key=lambda p: (p.started, p.pid))


def end_all(mark: str, grace_s: float) -> None:
    """End every process with this mark: asked first, forced after `grace_s` seconds; returns when all are gone.

    Leaders are asked first, so that they can end their children in order; children that outlive them are asked next. A
    frozen process is woken to hear it.
    """
    deadline = time.monotonic() + grace_s
    asked: set[tuple[int, float]] = set()
    while left := marked(mark):
        forced = time.monotonic() >= deadline
        leaders = [p for p in left if p.is_leader]
        for process in left if forced else leaders or left:
            if forced:
                _signal(process.pid, signal.SIGKILL)
            elif (process.pid, process.started) not in asked:
                asked.add((process.pid, process.started))
                _signal(process.pid, signal.SIGTERM, signal.SIGCONT)
        time.sleep(0.03)


def _signal(pid: int, *signals: signal.Signals) -> None:
    for each in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, each)


def _read(pid: int, mark: str) -> Process | None:
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone meanwhile, or another user's
        return None
    if f"{MARK}={mark}".encode() not in raw:
        return None
    environment = dict(_pairs(raw))
    borne = environment.get(MARK, "")
    status = _status(pid)
    if status is None or not (borne.startswith(mark) if mark.endswith("/") else borne == mark):
        return None
    return Process(pid, status[1], status[0], environment)


def _pairs(raw: bytes) -> Iterator[tuple[str, str]]:
    for entry in raw.split(b"\0"):
        name, equals, value = entry.decode("utf-8", "replace").partition("=")
        if equals:
            yield name, value


def _status(pid: int) -> tuple[int, float] | None:
    """Process group and start time; None where it is gone or only waits to be reaped."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # a program's name may hold spaces and brackets
    if fields[0] in _DEAD:
        return None
    return int(fields[2]), int(fields[19]) / _TICKS_PER_S
