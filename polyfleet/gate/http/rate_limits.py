"""What an API's headers tell of its limits: OpenAI's and Anthropic's forms, and their relatives."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

MOST_KINDS = 8
"""Kinds that are taken in of one answer: no upstream may fill the memory."""

_OPENAI = re.compile(rb"x-ratelimit-(limit|remaining|reset)(?:-([a-z][a-z_-]{0,39}))?")
_ANTHROPIC = re.compile(rb"anthropic-ratelimit-([a-z][a-z_-]{0,39})-(limit|remaining|reset)")
_FIGURE = r"([0-9]+(?:\.[0-9]+)?)"
_SPAN = re.compile("".join(f"(?:{_FIGURE}{unit})?" for unit in ("d", "h", "m(?!s)", "s", "ms")))
_UNIT_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,12})?")
_EPOCH_S, _EPOCH_MS = 1e9, 1e12
"""Numbers above are points in time: no limit lasts for 31 years."""


class Limit(NamedTuple):
    """One limit as told. `kind` is the API's own word (`requests`, `tokens`, `input-tokens`, ...); `reset_s` from now
    until it is whole again. What was not told is None."""

    kind: str
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


class Told(NamedTuple):
    """All that one answer's headers tell. `retry_after_s`: come back after so long."""

    limits: tuple[Limit, ...] = ()
    retry_after_s: float | None = None


def tells_limits(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether there is anything to read: most engines tell nothing, and every answer is looked at."""
    return any(name.startswith((b"x-ratelimit-", b"anthropic-ratelimit-")) for name, _ in headers)


def read_told(headers: Iterable[tuple[bytes, bytes]], now: float) -> Told:
    """Reads headers (names in lower case); `now` in UTC seconds. What cannot be read counts as not told."""
    found: dict[str, dict[str, float]] = {}
    after: float | None = None
    after_ms: float | None = None
    for name, raw in headers:
        value = raw.decode("latin-1").strip()
        if name == b"retry-after":
            after = seconds_from(value, now)
        elif name == b"retry-after-ms":
            after_ms = float(value) / 1000.0 if _NUMBER.fullmatch(value) else None
        elif (part := _part(name)) is not None:
            kind, what = part
            figure = seconds_from(value, now) if what == "reset" else _count(value)
            if figure is not None and (kind in found or len(found) < MOST_KINDS):
                found.setdefault(kind, {})[what] = figure
    limits = tuple(Limit(k, f.get("limit"), f.get("remaining"), f.get("reset")) for k, f in found.items())
    return Told(limits, after if after_ms is None else after_ms)


def _part(name: bytes) -> tuple[str, str] | None:
    """Kind, and which figure of it; requests where no kind is named."""
    if (match := _OPENAI.fullmatch(name)) is not None:
        return (match[2] or b"requests").decode(), match[1].decode()
    if (match := _ANTHROPIC.fullmatch(name)) is not None:
        return match[1].decode(), match[2].decode()
    return None


def _count(value: str) -> float | None:
    return float(value) if _NUMBER.fullmatch(value) else None


def seconds_from(value: str, now: float) -> float | None:
    """Seconds from `now`: of `6m0s`, `120ms`, `59.7` (seconds), a point in time in epoch seconds or milliseconds,
    RFC 3339 or an HTTP date. At least 0; None where it is none of them."""
    if _NUMBER.fullmatch(value):
        number = float(value)
        if number < _EPOCH_S:
            return number
        return max(0.0, (number / 1000.0 if number >= _EPOCH_MS else number) - now)
    span = _SPAN.fullmatch(value) if 0 < len(value) <= 64 else None
    if span is not None:
        total = sum(float(part) * unit for part, unit in zip(span.groups(), _UNIT_S, strict=True) if part)
        return total if math.isfinite(total) else None
    moment = _moment(value)
    return None if moment is None else max(0.0, moment - now)


def _moment(value: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(value)
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
