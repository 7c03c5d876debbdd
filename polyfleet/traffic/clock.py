"""Hours of the week: where a moment falls, and how much of each a trace covers."""

from __future__ import annotations

import numpy as np

from polyfleet.terms.demand import Floats, Ints, Window

HOUR_S = 3600
DAY_S = 86_400
WEEK_S = 604_800
HOURS_PER_MONTH = 730.0
HOURS_PER_WEEK = 168
_THURSDAY = 72  # 1970-01-01 was one; weeks begin on Monday
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def hour_of_week(second: Ints, dated: bool) -> Ints:
    """(n,) 0 to 167. Dated: Monday 00:00 UTC is 0. Otherwise hours count from the trace's own zero."""
    return (second // HOUR_S + (_THURSDAY if dated else 0)) % HOURS_PER_WEEK


def covered_hours(first_s: float, last_s: float, dated: bool) -> Floats:
    """(168,) hours of a trace's span that fall in each hour of the week."""
    shift = _THURSDAY if dated else 0
    begin, end = first_s / HOUR_S + shift, last_s / HOUR_S + shift
    weeks, rest = divmod(end - begin, HOURS_PER_WEEK)
    covered = np.full(HOURS_PER_WEEK, weeks)
    at = begin % HOURS_PER_WEEK
    while rest > 1e-12:
        step = min(rest, np.floor(at) + 1 - at)
        covered[int(at) % HOURS_PER_WEEK] += step
        at, rest = np.floor(at) + 1 if step < rest else at + step, rest - step
    return covered


def natural_windows(span_s: float) -> int:
    """168 hours of the week, 24 of the day, or 1, as a trace's span allows."""
    return HOURS_PER_WEEK if span_s >= WEEK_S else 24 if span_s >= DAY_S else 1


def folded(by_hour: Floats, count: int) -> Floats:
    """(168, ...) sums by hour of week added up to (count, ...), count 168, 24 or 1."""
    shape = by_hour.shape[1:]
    if count == 24:
        return np.asarray(by_hour.reshape(7, 24, *shape).sum(axis=0))
    return by_hour if count == HOURS_PER_WEEK else np.asarray(by_hour.sum(axis=0, keepdims=True))


def windows(count: int, dated: bool = True) -> tuple[Window, ...]:
    """The 168, 24 or 1 windows of equal length. Undated traces number their hours from the first request."""
    if count == 1:
        return (Window("all hours", HOURS_PER_MONTH),)
    names = [f"{h:02d}:00" for h in range(24)]
    if count == HOURS_PER_WEEK:
        days = _DAYS if dated else tuple(f"day {d}" for d in range(1, 8))
        names = [f"{day} {name}" for day in days for name in names]
    elif not dated:
        names = [f"hour {h}" for h in range(1, 25)]
    return tuple(Window(name, HOURS_PER_MONTH / count) for name in names)
