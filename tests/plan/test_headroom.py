"""Headroom: square-root staffing against a simulated infinite-server queue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.plan.headroom import headroom_factor, promised_percentile
from polyfleet.terms.slo import Slo


def in_flight_samples(rate: float, hold_s: float, rng: np.random.Generator, batch: int = 1) -> np.ndarray:
    """Requests in flight seen at even times: Poisson arrivals in groups, lognormal service."""
    horizon = 4000.0
    groups = rng.poisson(rate / batch * horizon)
    start = np.repeat(rng.uniform(0, horizon, groups), batch)
    sigma = 0.8
    service = rng.lognormal(np.log(hold_s) - sigma**2 / 2, sigma, start.size)
    at = np.linspace(10 * hold_s, horizon, 4000)
    begun = np.searchsorted(np.sort(start), at)
    ended = np.searchsorted(np.sort(start + service), at)
    return begun - ended


@pytest.mark.parametrize(("rate", "hold_s"), [(1.0, 5.0), (10.0, 5.0), (50.0, 8.0)])
def test_staffed_capacity_holds_about_95_percent_of_moments(rate: float, hold_s: float) -> None:
    seen = in_flight_samples(rate, hold_s, np.random.default_rng(1))
    staffed = rate * hold_s * headroom_factor(np.array([rate * hold_s]), 1.0, 95.0)[0]
    assert 0.92 <= np.mean(seen <= staffed) <= 0.985


def test_bursty_arrivals_need_the_larger_margin_that_dispersion_gives() -> None:
    rate, hold_s, batch = 20.0, 5.0, 4
    seen = in_flight_samples(rate, hold_s, np.random.default_rng(2), batch)
    mean = rate * hold_s
    plain = mean * headroom_factor(np.array([mean]), 1.0, 95.0)[0]
    staffed = mean * headroom_factor(np.array([mean]), float(batch), 95.0)[0]
    assert np.mean(seen <= plain) < 0.9
    assert np.mean(seen <= staffed) >= 0.94


@given(st.floats(0.01, 1e5), st.floats(1.0, 20.0), st.floats(51.0, 99.9))
def test_more_traffic_needs_a_smaller_share_of_headroom(in_flight: float, dispersion: float, percentile: float) -> None:
    small, large = headroom_factor(np.array([in_flight, in_flight * 4]), dispersion, percentile)
    assert small >= large >= 1.0
    assert small - 1 == pytest.approx(2 * (large - 1))


def test_no_promise_needs_no_headroom() -> None:
    assert headroom_factor(np.array([3.0]), 2.0, None) == 1.0


def test_the_strictest_promised_percentile_counts() -> None:
    assert promised_percentile(Slo(1000.0, 99.0, 50.0, 95.0)) == 99.0
    assert promised_percentile(Slo(None, 99.0, 50.0, 90.0)) == 90.0
    assert promised_percentile(Slo()) is None
