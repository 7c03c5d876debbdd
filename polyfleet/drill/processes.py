"""Which process answers on a port of this machine, and how it is struck."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_LISTENING, _ESTABLISHED = "0A", "01"


def listener(port: int) -> int | None:
    """The process that listens on a TCP port of this machine, as far as one may see (Linux)."""
    wanted = {f"socket:[{inode}]" for inode in _sockets(port)}
    if not wanted:
        return None
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and wanted & _open_sockets(folder):
            return int(folder.name)
    return None


def send(pid: int, number: signal.Signals) -> None:
    """To the whole group where `pid` leads one (an engine with helpers), else to it alone. A dead one is no error."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def connections(port: int) -> int:
    """How many TCP connections a port of this machine holds open."""
    return sum(state == _ESTABLISHED and local == port for local, state, _ in _table())


def _sockets(port: int) -> set[str]:
    return {inode for local, state, inode in _table() if state == _LISTENING and local == port}


def _table() -> Iterator[tuple[int, str, str]]:
    """Local port, state and inode of every TCP socket."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                columns = line.split()
                yield int(columns[1].rpartition(":")[2], 16), columns[3], columns[9]


def _open_sockets(folder: Path) -> set[str]:
    links = set()
    with contextlib.suppress(OSError):
        for link in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                links.add(os.readlink(link))
    return links
