"""Measures of workers side by side: each writes its own file whole, whoever is asked adds them up."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from polyfleet.gate.seen.families import BY_NAME

_FRESH_S = 10.0
"""Gauges of a worker that wrote nothing for longer are those of a dead one; its counters stay."""


class Series(NamedTuple):
    """One metric under one set of labels. `value` a counter, a gauge or the sum of a histogram with `counts`."""

    name: str
    labels: tuple[str, ...]
    value: float
    counts: tuple[int, ...] = ()


def write_series(folder: Path, worker: str, series: list[Series]) -> None:
    """Write a worker's file. The name has its pid, so that one who takes its place does not set its counters back."""
    path = folder / f"metrics-{worker}-{os.getpid()}.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"at": time.time(), "worker": worker, "pid": os.getpid(), "series": series}))
    temporary.replace(path)


def clear(folder: Path) -> None:
    """Remove all workers' files."""
    for path in folder.glob("metrics-*.*"):
        path.unlink(missing_ok=True)


def merged(folder: Path, worker: str, own: list[Series]) -> list[Series]:
    """`own` series and those that other workers wrote, added up. Unreadable files count as absent."""
    sums = {(one.name, one.labels): one for one in own}
    mine = f"metrics-{worker}-{os.getpid()}.json"
    for path in sorted(folder.glob("metrics-*.json")):
        if path.name == mine:
            continue
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            _add(sums, json.loads(path.read_text()))
    return list(sums.values())


def _add(sums: dict[tuple[str, tuple[str, ...]], Series], written: dict[str, object]) -> None:
    alive = time.time() - float(str(written["at"])) < _FRESH_S
    rows = written["series"]
    assert isinstance(rows, list)
    for name, labels, value, counts in rows:
        family = BY_NAME.get(name)
        if family is None or (family.kind == "gauge" and not alive):
            continue
        key = (name, tuple(labels))
        before = sums.get(key)
        if before is None:
            sums[key] = Series(name, tuple(labels), value, tuple(counts))
        else:
            added = tuple(a + b for a, b in zip(before.counts, counts, strict=True))
            sums[key] = Series(name, tuple(labels), before.value + value, added)
