"""Windows: hours of the week, of the day, or one; rates against counting by hand; merging keeps volume and peak."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.terms.demand import Bucket, Demand, Trace, Window
from polyfleet.terms.lengths import Lengths
from polyfleet.traffic import SHAPES, aggregate_windows, demand_from_rate, generate, shape_named, summarise
from polyfleet.traffic.clock import covered_hours
from polyfleet.traffic.windows import window_load

DAY_S = 86_400


def _trace(hours: float, start: str, seed: int = 0) -> Trace:
    return generate(
        0.05, Lengths.lognormal(900, 2), Lengths.lognormal(100, 2),
        duration_s=hours * 3600, seed=seed, shape="weekday", start=start,
    )  # fmt: skip


@pytest.mark.parametrize(("hours", "windows"), [(5, 1), (23.5, 1), (24.6, 24), (100, 24), (169, 168), (400, 168)])
def test_windows_follow_the_span_and_sum_to_a_month(hours: float, windows: int) -> None:
    demand = summarise(_trace(hours, "2024-05-08T13:00:00Z"))
    assert len(demand.windows) == windows == len(demand.rate_per_s)
    assert sum(w.hours_per_month for w in demand.windows) == pytest.approx(730)
    assert len({w.name for w in demand.windows}) == windows


@pytest.mark.parametrize("hours", [30, 169, 400])
def test_the_rate_of_an_hour_is_its_requests_over_the_time_it_was_seen(hours: float) -> None:
    trace = _trace(hours, "2024-05-08T13:00:00Z")
    demand = summarise(trace)
    assert trace.start is not None
    begin = datetime.fromisoformat(trace.start[:26] + "+00:00")
    name = (lambda m: f"{m:%a %H}:00") if len(demand.windows) == 168 else (lambda m: f"{m:%H}:00")
    counted = Counter(name(begin + timedelta(seconds=float(s))) for s in trace.arrival_s)
    step = 20  # a walk over the span in steps of 20 s
    seen = Counter(name(begin + timedelta(seconds=s)) for s in range(0, int(trace.duration_s), step))
    for window, rate in zip(demand.windows, demand.window_rate_per_s, strict=True):
        assert rate == pytest.approx(counted[window.name] / (seen[window.name] * step), rel=0.02)


def test_a_generated_week_comes_back_as_the_demand_it_was_made_from() -> None:
    lengths = Lengths.fixed(1000), Lengths.fixed(100)
    made = generate(0.5, *lengths, duration_s=4 * 7 * DAY_S, seed=1, shape="weekday")
    found, exact = summarise(made), demand_from_rate(0.5, *lengths, shape="weekday")
    assert [w.name for w in found.windows] == [w.name for w in exact.windows]
    expected = exact.window_rate_per_s
    sigma = np.sqrt(expected / (4 * 3600))
    assert np.abs((found.window_rate_per_s - expected) / sigma).max() < 4.5  # of 168 normal deviates


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shapes_have_mean_one(name: str) -> None:
    shape = shape_named(name)
    assert np.mean(shape.factors) == pytest.approx(1)
    assert min(shape.factors) > 0
    assert len(shape.factors) in (1, 24, 168)


def test_an_unknown_shape_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean weekday"):
        shape_named("weekdays")


@given(st.floats(0, 2e9), st.floats(1e-3, 3e6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_covered_hours_add_up_to_the_span(begin_s: float, span_s: float, dated: bool) -> None:
    covered = covered_hours(begin_s, begin_s + span_s, dated)
    assert covered.sum() == pytest.approx(span_s / 3600, abs=1e-5)
    assert covered.min() >= 0
    assert covered.max() - covered.min() <= 1 + 1e-6


_RATES = st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 5)), min_size=3, max_size=24)


@given(_RATES, st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_merged_windows_keep_hours_volume_and_peak(rates: list[tuple[float, float]], count: int) -> None:
    windows = tuple(Window(str(n), 730 / len(rates)) for n in range(len(rates)))
    demand = Demand(windows, (Bucket(500, 100), Bucket(20_000, 400, 9000)), np.array(rates))
    merged = aggregate_windows(demand, count)
    assert len(merged.windows) == min(count, len(rates))
    hours = np.array([w.hours_per_month for w in merged.windows])
    assert hours.sum() == pytest.approx(730)
    np.testing.assert_allclose(hours @ merged.rate_per_s, 730 / len(rates) * demand.rate_per_s.sum(axis=0))
    if count > 1:
        assert window_load(merged).sum(axis=1).max() == pytest.approx(window_load(demand).sum(axis=1).max())


def test_two_kinds_of_hours_are_told_apart() -> None:
    rates = np.array([[1.0], [9.0], [1.0], [9.0], [1.0], [10.0]])
    demand = Demand(tuple(Window(n, 730 / 6) for n in "abcdef"), (Bucket(500, 100),), rates)
    merged = aggregate_windows(demand, 3)
    assert sorted(merged.rate_per_s[:, 0].tolist()) == [1, 9, 10]
    assert {w.name for w in merged.windows} == {"a and 2 like it", "b and 1 like it", "f"}
    with pytest.raises(ValueError, match="at least one window"):
        aggregate_windows(demand, 0)
