"""Server-sent events: whole events out of bytes that were cut anywhere (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE_END = rb"(?>\r\n|\n|\r)"  # atomic: a "\r\n" is never taken for two ends
_EVENT_END = re.compile(_LINE_END + _LINE_END)
_LINE = re.compile(_LINE_END)
DONE = b"[DONE]"
MAX_EVENT_BYTES = 16 * 2**20


class EventTooLong(Exception):
    """More than MAX_EVENT_BYTES without an end of event."""


class EventCutter:
    """Holds back what is not yet a whole event."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """The part of an event that has come without its end."""
        return self._rest

    def feed(self, data: bytes) -> bytes:
        """All whole events so far, as they came; b"" while there is none. Raises EventTooLong."""
        if self._rest:
            data = self._rest + data
        if data.endswith(b"\n\n"):  # what engines send: an event a chunk
            self._rest = b""
            return data
        end = data.rfind(b"\n\n") + 2
        if b"\r" in data:
            end = max(end, *(found.end() for found in _EVENT_END.finditer(data)), 1)
        if end < 2:
            end = 0
        self._rest = data[end:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLong
        return data[:end]


def split_events(whole: bytes) -> list[bytes]:
    """Whole events, each with its end. What follows the last end is left out."""
    if b"\r" not in whole:
        return [part + b"\n\n" for part in whole.split(b"\n\n")[:-1] if part.strip(b"\n")]
    events, start = [], 0
    for found in _EVENT_END.finditer(whole):
        if whole[start : found.start()].strip(b"\r\n"):
            events.append(whole[start : found.end()])
        start = found.end()
    return events


def each_event(whole: bytes) -> Iterator[bytes]:
    """As `split_events`, one after the other, for who needs the first few of many."""
    if b"\r" in whole:
        yield from split_events(whole)
        return
    start = 0
    while (end := whole.find(b"\n\n", start)) >= 0:
        if end > start:
            yield whole[start : end + 2]
        start = end + 2


def data_of(event: bytes) -> bytes | None:
    """The data of one event, its lines joined; None where it has none (a comment, a keep-alive)."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return event[6:-2]
    lines = []
    for line in _LINE.split(event.removeprefix(b"\xef\xbb\xbf")):
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None


def payloads(whole: bytes) -> Iterator[bytes]:
    """The data of every whole event that has some."""
    for event in split_events(whole):
        data = data_of(event)
        if data is not None:
            yield data


def event_of(data: bytes) -> bytes:
    """One event with `data`, which has no line end in it (JSON has none)."""
    return b"data: " + data + b"\n\n"
