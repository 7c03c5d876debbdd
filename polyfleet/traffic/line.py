"""One line of a trace, read with care: the reference that the fast column readers fall back on, and the only place
that says what is wrong with a value."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone

from polyfleet.errors import TraceError
from polyfleet.traffic.form import TimeUnit
from polyfleet.traffic.rows import LAST_NS, MOST_TOKENS

_DATE = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)[ T](\d\d?):(\d\d?):(\d\d?)(?:\.(\d{1,9})\d*)?\s*(Z|[+-]\d\d:?\d\d)?", flags=re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_EPOCH_S = 1e9  # September 2001: smaller numbers of seconds are taken to count from the trace's start
LAST_EPOCH_S = 9e9


def tokens(value: object, column: str, file: str, line: int) -> int:
    """A whole number of tokens, 0 to 100 million. Raises TraceError."""
    number = _number(value)
    hint = "whole numbers of tokens are expected"
    if number is None:
        shown = "nothing" if value in (None, "") else value
        raise TraceError(f"{column} is not a number", file=file, line=line, value=shown, hint=hint)
    if number < 0:
        raise TraceError(f"{column} is negative", file=file, line=line, value=value, hint=hint)
    if number != math.floor(number):
        raise TraceError(f"{column} is not whole", file=file, line=line, value=value, hint=hint)
    if number > MOST_TOKENS:
        raise TraceError(f"{column} is longer than any context", file=file, line=line, value=value, hint=hint)
    return int(number)


def time_ns(value: object, unit: TimeUnit, column: str, file: str, line: int) -> tuple[int, bool]:
    """Nanoseconds, and whether they count from 1970. Raises TraceError."""
    number = _number(value) if unit is not TimeUnit.DATE else None
    if number is None:
        if unit in (TimeUnit.DATE, TimeUnit.DATE_OR_SECONDS) and isinstance(value, str):
            return _date_ns(value, column, file, line), True
        raise TraceError(f"{column} is not a number of {unit}", file=file, line=line, value=value)
    if number < 0:
        raise TraceError(f"{column} is negative", file=file, line=line, value=value)
    seconds = number / 1000 if unit is TimeUnit.MILLISECONDS else number
    if seconds > LAST_EPOCH_S:
        hint = "seconds are expected here; milliseconds must be divided by 1000"
        raise TraceError(f"{column} is too far in the future", file=file, line=line, value=value, hint=hint)
    unit_ns = 10**6 if unit is TimeUnit.MILLISECONDS else 10**9
    whole = math.floor(number)  # apart, since seconds since 1970 times 1e9 would lose the last 100 ns
    return whole * unit_ns + round(
        (number - whole) * unit_ns
    ), unit is TimeUnit.DATE_OR_SECONDS and seconds >= FIRST_EPOCH_S


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", value, re.I | re.A):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _date_ns(text: str, column: str, file: str, line: int) -> int:
    found = _DATE.fullmatch(text.strip())
    hint = "a date as 2024-05-10 00:00:00.009930+00:00 is expected"
    if not found:
        raise TraceError(f"{column} is not a date", file=file, line=line, value=text, hint=hint)
    try:
        year, month, day, hour, minute, second = (int(g) for g in found.groups()[:6])
        leap = second == 60
        moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=_zone(found[8]))
        ns = ((moment - _EPOCH) // timedelta(seconds=1) + leap) * 10**9 + int((found[7] or "0").ljust(9, "0"))
    except (ValueError, OverflowError) as error:
        raise TraceError(f"{column} is not a date: {error}", file=file, line=line, value=text, hint=hint) from error
    if not 0 <= ns < LAST_NS:
        raise TraceError(f"{column} lies outside 1970 to 2262", file=file, line=line, value=text)
    return ns


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)
