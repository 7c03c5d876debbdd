"""Quantities as people write them: durations, rates, money, shares, factors, counts.

Every parser takes text or a plain number, returns a float in the unit that its name states, and raises ValueError
with what was read and what would be right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

HOURS_PER_MONTH = 730.0
"""Hours of a mean month (8,760 / 12), the length that every monthly figure uses."""

_NUMBER = re.compile(r"\s*([-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", re.DOTALL)
_SECONDS: Mapping[str, float] = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0,
    "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0, "w": 604800.0, "week": 604800.0,
}  # fmt: skip
_COUNTS: Mapping[str, float] = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_MONTHS: Mapping[str, float] = {
    "month": 1.0, "mo": 1.0, "year": 1 / 12, "yr": 1 / 12, "y": 1 / 12, "day": HOURS_PER_MONTH / 24,
    "d": HOURS_PER_MONTH / 24, "hour": HOURS_PER_MONTH, "h": HOURS_PER_MONTH,
}  # fmt: skip


def _split(value: object, right: str) -> tuple[float, str]:
    """A number and the unit behind it."""
    text = str(value)
    match = _NUMBER.fullmatch(text) if len(text) <= 64 else None
    if match is None or isinstance(value, bool):
        raise ValueError(f"not a quantity: {text[:40]!r}; write {right}")
    number = float(match.group(1).replace(",", "").replace("_", ""))
    if not math.isfinite(number):
        raise ValueError(f"too large: {text[:40]!r}; write {right}")
    return number, match.group(2)


def _scaled(value: object, units: Mapping[str, float], right: str, *, positive: bool = True) -> float:
    number, unit = _split(value, right)
    if unit not in units:
        known = ", ".join(u for u in units if u)
        raise ValueError(f"unknown unit {unit!r} in {str(value)!r}; write {right} (units: {known})")
    result = number * units[unit]
    if result < 0 or (positive and result == 0) or not math.isfinite(result):
        raise ValueError(f"must be {'above' if positive else 'at least'} zero: {str(value)!r}; write {right}")
    return result


def parse_seconds(value: object) -> float:
    """Seconds from '50ms', '1s', '8h', '1d'. A number without a unit is refused: nobody can tell what it means."""
    return _scaled(value, _SECONDS, "a duration such as 50ms, 1s, 8h or 1d")


def parse_per_second(value: object) -> float:
    """Events per second from '25/s', '1500/min', '2M/day'."""
    right = "a rate such as 25/s, 1500/min or 2M/day"
    head, slash, unit = str(value).partition("/")
    if not slash or unit.strip() not in _SECONDS:
        raise ValueError(f"not a rate: {str(value)[:40]!r}; write {right}")
    return _scaled(head, _COUNTS, right) / _SECONDS[unit.strip()]


def parse_usd_per_month(value: object) -> float:
    """USD per month from '3M USD / month', '$3M/month', '36M USD/year'."""
    right = "money such as 3M USD / month"
    head, slash, period = str(value).replace("$", "").partition("/")
    if not slash or period.strip() not in _MONTHS:
        raise ValueError(f"not money over time: {str(value)[:40]!r}; write {right}")
    amount = re.sub(r"\s*(USD|usd)\s*", "", head)
    return _scaled(amount.strip(), _COUNTS, right) * _MONTHS[period.strip()]


def parse_share(value: object) -> float:
    """A share from 0 to 1, from '60%' or 0.6."""
    right = "a share such as 60%"
    share = _scaled(value, {"%": 0.01, "": 1.0}, right, positive=False)
    if share > 1:
        raise ValueError(f"more than the whole: {str(value)!r}; write {right}")
    return share


def parse_factor(value: object) -> float:
    """A factor above 0, from '40x' or 1.5."""
    return _scaled(value, {"x": 1.0, "": 1.0}, "a factor such as 40x")


def parse_count(value: object) -> float:
    """A count above 0, from '4e9', '4B', 12000."""
    return _scaled(value, _COUNTS, "a count such as 4e9, 4B or 120k")


def parse_percentile(value: object) -> float:
    """A percentile above 0 and below 100, from 'p95' or 95."""
    text = str(value).strip()
    number, unit = _split(text[1:] if text[:1] in "pP" else text, "a percentile such as p95")
    if unit or not 0 < number < 100:
        raise ValueError(f"not a percentile: {text[:40]!r}; write one such as p95")
    return number


def parse_latency(value: object) -> tuple[float, float]:
    """(milliseconds, percentile) from '1s p95' or '50ms'; the percentile is 95 where none is written."""
    parts = str(value).split()
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"not a latency promise: {str(value)[:40]!r}; write one such as 50ms p95")
    percentile = parse_percentile(parts[1]) if len(parts) == 2 else 95.0
    return parse_seconds(parts[0]) * 1e3, percentile
