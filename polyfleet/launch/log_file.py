"""The log of a process that holds its file open for ever: bounded, and read across its turns."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 16 * 2**20
"""A log that is longer becomes the earlier one, and that is dropped: a replica keeps up to twice as much."""
_LOOK_EVERY_S = 0.1


def earlier(path: Path) -> Path:
    """Where the lines before the log's are."""
    return path.with_name(f"{path.name}.1")


def bound(path: Path, most_bytes: int = MOST_BYTES) -> bool:
    """Turn a log that has grown too long: its lines are copied, and the file, which its writer keeps open (to append),
    begins anew; whether that was so. Only what is written in the microseconds between is lost. Raises OSError."""
    if path.stat().st_size <= most_bytes:
        return False
    with path.open("rb+") as log, tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as copy:
        try:
            shutil.copyfileobj(log, copy)
            copy.flush()
            os.replace(copy.name, earlier(path))
            shutil.copyfileobj(log, copy)
            copy.flush()
            log.truncate(0)
        except OSError:
            with contextlib.suppress(OSError):
                Path(copy.name).unlink(missing_ok=True)
            raise
    return True


def read(path: Path, last: int | None = None) -> Iterator[str]:
    """The lines that are there, the `last` ones or all. Raises OSError where there is no log."""
    with path.open("rb") as log:
        yield from map(_text, _lines(path, log, last))


def follow(path: Path, last: int | None = None) -> Iterator[str]:
    """As `read`, then whole lines as they come, for ever, whenever the log is turned."""
    turn = _turn(path)
    with path.open("rb") as log:
        yield from map(_text, list(_lines(path, log, last)))
        while True:
            if (now := _turn(path)) != turn:
                turn = now
                yield from _rest(path, log.tell())
                log.seek(0)
            line = log.readline()
            if line.endswith(b"\n"):
                yield _text(line)
                continue
            log.seek(-len(line), os.SEEK_CUR)
            time.sleep(_LOOK_EVERY_S)


def _lines(path: Path, log: BinaryIO, last: int | None) -> Iterator[bytes]:
    """Lines of the earlier part and of the open log, which is then read to its end."""
    if last is not None:
        lines = deque(log, last)
        if len(lines) < last:
            with contextlib.suppress(OSError), earlier(path).open("rb") as before:
                lines = deque(chain(before, lines), last)
        yield from lines
        return
    with contextlib.suppress(OSError), earlier(path).open("rb") as before:
        yield from before
    yield from log


def _rest(path: Path, position: int) -> list[str]:
    """What was not read yet of a log that was turned, once it has begun anew."""
    with earlier(path).open("rb") as before:
        until = time.monotonic() + 1.0
        while path.stat().st_size >= os.fstat(before.fileno()).st_size and time.monotonic() < until:
            time.sleep(0.001)
        before.seek(position)
        return list(map(_text, before))


def _turn(path: Path) -> int:
    try:
        return earlier(path).stat().st_ino
    except OSError:
        return 0


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")
