"""One JSON line for each request: who, what, where, how long; never a key, a prompt or an answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import NamedTuple

from polyfleet.gate.seen.metrics import Metrics

_MOST_WAITING = 20_000
_LONGEST_MODEL = 200


class AccessLine(NamedTuple):
    """One request. `key` the key's name, `routes` all that took part in order, `error` the code that the client got."""

    request_id: str
    method: str
    path: str
    status: int
    seconds: float
    model: str = ""
    key: str = ""
    routes: tuple[str, ...] = ()
    ttft_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    retries: int = 0
    resumed: int = 0
    error: str = ""
    client_gone: bool = False


class AccessLog:
    """Lines are kept until `flush`; a full disk or a slow one costs lines, which are counted, never an answer."""

    def __init__(self, path: Path | None, metrics: Metrics) -> None:
        """`path` of the file to append to; `-` is standard output; None: nothing is written."""
        self._path = path
        self._lost = metrics.counter("polyfleet_log_lines_lost")
        self._lines: deque[tuple[float, AccessLine]] = deque()

    def write(self, line: AccessLine) -> None:
        """Never blocks and never raises."""
        if self._path is None:
            return
        if len(self._lines) >= _MOST_WAITING:
            self._lost.value += 1
            return
        self._lines.append((time(), line))

    def flush(self) -> None:
        """Write what waits. The file is opened each time, so that it may be moved away (log rotation)."""
        count = len(self._lines)
        if self._path is None or count == 0:
            return
        taken = [self._lines.popleft() for _ in range(count)]
        text = "".join(_text(at, line) for at, line in taken)
        try:
            self._append(text.encode())
        except OSError:
            self._lost.value += count

    def _append(self, data: bytes) -> None:
        """In one write, so that lines of several workers do not mix."""
        if str(self._path) == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        assert self._path is not None
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            while data:
                data = data[os.write(handle, data) :]
        finally:
            os.close(handle)

    async def run(self, every_s: float = 0.25) -> None:
        """Flush until cancelled, beside the event loop; once more then."""
        try:
            while True:
                await asyncio.sleep(every_s)
                await asyncio.to_thread(self.flush)
        finally:
            self.flush()


def _text(at: float, line: AccessLine) -> str:
    """What was asked in the query is left out: some clients put their key there."""
    row = {"at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"), **line._asdict()}
    row["path"] = line.path.split("?", 1)[0]
    row["model"] = line.model[:_LONGEST_MODEL]
    row["seconds"] = round(line.seconds, 6)
    return json.dumps(row, separators=(",", ":")) + "\n"
