"""Fewer windows: hours of like demand planned as one, the busiest kept as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polyfleet.terms.demand import Demand, Floats, Window
from polyfleet.traffic.work import kv_residency, prefill


def aggregate_windows(demand: Demand, count: int, kinds: Sequence[int] | None = None) -> Demand:
    """The demand in `count` representative windows; unchanged where it has no more.

    Windows are merged two by two, those first whose merging loses least variance (Ward's method, 1963) of the load by
    bucket, in prefill, decode and KV residency. Hours and requests a month are kept exactly; so is the window with most
    load, which is never merged unless `count` is 1. With `kinds` (windows,), windows of different kinds stay apart, so
    that more than `count` may be left, and windows of one kind and load are merged however few there are.
    Raises ValueError below 1.
    """
    if count < 1:
        raise ValueError(f"at least one window is needed, not {count}")
    if count >= len(demand.windows) and kinds is None:
        return demand
    hours = np.array([w.hours_per_month for w in demand.windows])
    load = window_load(demand)
    peak = int(np.argmax(load.sum(axis=1))) if count > 1 else None
    groups = [[w] for w in range(len(hours))] if kinds is None else _alike(load, np.array(kinds))
    groups = _merged(load, hours, groups, count, peak, kinds)
    if len(groups) == len(hours):
        return demand
    rate = np.stack([hours[g] @ demand.rate_per_s[g] / hours[g].sum() for g in groups])
    made = tuple(Window(_name(demand, g), float(hours[g].sum())) for g in groups)
    kept = "" if peak is None else ", the busiest kept as it is"
    note = f"{len(demand.windows)} windows merged into {len(groups)}{kept}"
    return replace(demand, windows=made, rate_per_s=rate, notes=(*demand.notes, note))


def window_load(demand: Demand) -> Floats:
    """(windows, buckets) load: prefill, decode and KV residency per second, each over its monthly mean, added up."""
    sizes = [(b.input_tokens, b.output_tokens, b.cached_tokens) for b in demand.buckets]
    inp, out, cached = np.array(sizes, dtype=np.float64).reshape(-1, 3).T
    hours = np.array([w.hours_per_month for w in demand.windows])
    load = np.zeros_like(demand.rate_per_s)
    for measure in (prefill(inp, cached), out, kv_residency(inp, out)):
        part = demand.rate_per_s * measure
        mean = float(hours @ part.sum(axis=1) / hours.sum())
        load += part / mean if mean else 0.0
    return load


def _alike(load: Floats, kinds: NDArray[np.int64]) -> list[list[int]]:
    """Windows of one kind and, but for rounding, one load."""
    found: dict[tuple[int, bytes], list[int]] = {}
    rounded = np.round(load / max(float(load.max(initial=0.0)), 1e-300), 9)
    for w, kind in enumerate(kinds):
        found.setdefault((int(kind), rounded[w].tobytes()), []).append(w)
    return list(found.values())


def _merged(
    load: Floats, hours: Floats, groups: list[list[int]], count: int, peak: int | None, kinds: Sequence[int] | None
) -> list[list[int]]:
    weight = np.array([hours[g].sum() for g in groups])
    centre = np.stack([hours[g] @ load[g] / hours[g].sum() for g in groups])
    kind = np.zeros(len(groups)) if kinds is None else np.array([kinds[g[0]] for g in groups])
    while len(groups) > count:
        distance = ((centre[:, None, :] - centre[None, :, :]) ** 2).sum(axis=2)
        distance *= weight[:, None] * weight[None, :] / (weight[:, None] + weight[None, :])
        distance[kind[:, None] != kind[None, :]] = np.inf
        np.fill_diagonal(distance, np.inf)
        if peak is not None:
            alone = next(g for g, members in enumerate(groups) if peak in members)
            distance[alone, :] = distance[:, alone] = np.inf
        a, b = sorted(divmod(int(np.argmin(distance)), len(groups)))
        if not np.isfinite(distance[a, b]):
            break
        centre[a] = (weight[a] * centre[a] + weight[b] * centre[b]) / (weight[a] + weight[b])
        weight[a] += weight[b]
        groups[a] = sorted(groups[a] + groups[b])
        del groups[b]
        centre, weight, kind = np.delete(centre, b, axis=0), np.delete(weight, b), np.delete(kind, b)
    return groups


def _name(demand: Demand, group: list[int]) -> str:
    first = demand.windows[group[0]].name
    return first if len(group) == 1 else f"{first} and {len(group) - 1} like it"
