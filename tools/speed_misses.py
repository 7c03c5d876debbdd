"""Predictions against measurements, with the rows left out of the fit that they are judged on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from speed_samples import Sample, for_fit

from polyfleet.speed.constants import Table, rates_of, table_of
from polyfleet.speed.fit import Fit, fit
from polyfleet.speed.predict import Batch, predict
from polyfleet.speed.user import EXACT_HALF_ROWS

WARM_STEPS = 3  # of a held-out fit, which starts from the full one
LARGE_SOURCE = 400  # rows from which on a source is left out model by model


@dataclass(frozen=True)
class Miss:
    """One prediction against one measurement: `ln` of measured over predicted."""

    sample: Sample
    metric: str
    ln: float


def misses(samples: Sequence[Sample], table: Table) -> list[Miss]:
    """All misses of these samples under a table of constants."""
    if not samples:
        return []
    found = predict(Batch.of([s.point for s in samples]), rates_of(table, [s.point.keys for s in samples]))
    return [
        Miss(s, metric, math.log(value / float(found[metric][i])))
        for i, s in enumerate(samples)
        for metric, value in s.values.items()
    ]


def held_out(samples: Sequence[Sample], key: Callable[[Sample], str], full: Fit) -> list[Miss]:
    """Misses of each group of samples under constants fitted without it."""
    return held_out_of(samples, samples, key, full)


def held_out_of(
    samples: Sequence[Sample], judged: Sequence[Sample], key: Callable[[Sample], str], full: Fit
) -> list[Miss]:
    """The same for the groups of `judged` only."""
    start = {(c.name, c.scope): math.log(c.value) for c in full.constants}
    found: list[Miss] = []
    for name in sorted({key(s) for s in judged}):
        kept = for_fit(s for s in samples if key(s) != name)
        without = fit(kept, start, WARM_STEPS)
        found += misses([s for s in samples if key(s) == name], table_of(without.constants))
        print(f"  without {name}", flush=True)
    return found


def by(found: Sequence[Miss], key: Callable[[Sample], str]) -> dict[str, list[Miss]]:
    grouped: dict[str, list[Miss]] = defaultdict(list)
    for m in found:
        grouped[key(m.sample)].append(m)
    return dict(sorted(grouped.items()))


def after_one_row(found: Sequence[Miss]) -> list[Miss]:
    """What is left of the misses of a cell when one of its rows is the user's own measurement: every row in turn (of
    ten at most), every other row judged."""
    left = []
    for cell in _cells(found):
        for own in cell[:: max(len(cell) // 10, 1)]:
            known = own.ln / (1 + EXACT_HALF_ROWS)
            left += [Miss(m.sample, m.metric, m.ln - known) for m in cell if m is not own]
    return left


def after_other_rows(found: Sequence[Miss]) -> list[Miss]:
    """The same when all other rows of the cell are."""
    left = []
    for cell in _cells(found):
        total, others = sum(m.ln for m in cell), len(cell) - 1
        left += [Miss(m.sample, m.metric, m.ln - (total - m.ln) / (others + EXACT_HALF_ROWS)) for m in cell if others]
    return left


def _cells(found: Sequence[Miss]) -> list[list[Miss]]:
    """By metric, source, chip, model, engine and precision."""
    cells: dict[tuple[str, ...], list[Miss]] = defaultdict(list)
    for m in found:
        keys = m.sample.point.keys
        cells[(m.metric, *m.sample.group, keys["engine"], keys["precision"])].append(m)
    return list(cells.values())


def held_out_name(counts: Mapping[str, int]) -> Callable[[Sample], str]:
    """Groups to leave out: sources, the few very large ones model by model, since the fit that ships has their rest."""
    return lambda s: s.source if counts[s.source] < LARGE_SOURCE else f"{s.source} | {s.model}"
