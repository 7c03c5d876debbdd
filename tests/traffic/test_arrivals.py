"""Bursts: generated streams of known dispersion measure as such; reproduced traces look like the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polyfleet.terms.demand import Burstiness, Trace
from polyfleet.terms.lengths import Lengths
from polyfleet.traffic import describe, generate, read_trace, reproduce
from polyfleet.traffic.bursts import RateNoise, SecondCounts

CUTS = Path(__file__).parents[2] / "examples" / "traces"
LENGTHS = Lengths.lognormal(1000, 2), Lengths.lognormal(100, 2)


def _scales(found: Burstiness) -> list[float]:
    assert found.dispersion_1s is not None
    assert found.dispersion_10s is not None
    assert found.dispersion_60s is not None
    return [found.dispersion_1s, found.dispersion_10s, found.dispersion_60s]


@pytest.mark.parametrize("dispersion", [1.0, 1.7, 5.0])
def test_a_stated_dispersion_is_measured_at_every_scale(dispersion: float) -> None:
    trace = generate(8, *LENGTHS, duration_s=86_400, seed=4, dispersion=dispersion)
    assert _scales(describe(trace).burstiness) == pytest.approx([dispersion] * 3, rel=0.1)


@pytest.mark.parametrize("wanted", [(1.3, 3.5, 13.0), (2.0, 4.0, 4.5), (6.0, 30.0, 90.0)])
def test_dispersions_that_grow_with_the_scale_are_made_too(wanted: tuple[float, float, float]) -> None:
    made = generate(5, *LENGTHS, duration_s=2 * 86_400, seed=2, dispersion=Burstiness(*wanted, None))
    assert _scales(describe(made).burstiness) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("rate", [0.5, 20.0])
def test_noise_variances_solve_the_closed_form(rate: float) -> None:
    wanted = Burstiness(2.0, 5.0, 20.0, None)
    v = RateNoise.for_dispersion(rate, wanted)
    m1 = (1 + v.every_1s) * (1 + v.every_10s) * (1 + v.every_60s)
    m10 = (1 + v.every_1s / 10) * (1 + v.every_10s) * (1 + v.every_60s)
    m60 = (1 + v.every_60s) * (1 + ((1 + v.every_1s / 10) * (1 + v.every_10s) - 1) / 6)
    assert [1 + rate * t * (m - 1) for t, m in ((1, m1), (10, m10), (60, m60))] == pytest.approx([2, 5, 20])


def test_the_daily_rise_and_fall_is_no_burst() -> None:
    steady = generate(1, *LENGTHS, duration_s=7 * 86_400, seed=3, shape="weekday")
    found = describe(steady).burstiness
    assert _scales(found) == pytest.approx([1, 1, 1], rel=0.08)
    assert found.peak_to_mean_60s is not None
    assert found.peak_to_mean_60s > 2


def test_dispersion_is_variance_over_mean_within_the_hour() -> None:
    rng = np.random.default_rng(0)
    second = np.sort(rng.integers(0, 3600, 9000) // 2 * 2)  # even seconds only: an uneven stream
    second[0], second[-1] = 0, 3599  # the whole hour is spanned
    counts = SecondCounts()
    counts.add(second[:4000])
    counts.add(second[4000:])
    inner = np.bincount(second, minlength=3600)[1:-1]  # the first and the last second are cut
    assert counts.dispersion(1) == pytest.approx(inner.var(ddof=1) / inner.mean())
    minutes = np.bincount(second // 60)
    assert counts.dispersion(60) == pytest.approx(minutes.var(ddof=1) / minutes.mean())
    assert _counts_of([1, 2, 3]).dispersion(1) is None  # too short to tell


def _counts_of(seconds: list[int]) -> SecondCounts:
    counts = SecondCounts()
    counts.add(np.array(seconds))
    return counts


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    at = np.union1d(a, b)
    shares = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


@pytest.mark.parametrize("name", ["azure_2023_conv_11min.csv", "azure_2023_code_24min.csv"])
def test_a_reproduced_trace_has_the_lengths_of_the_original(name: str) -> None:
    trace = read_trace(CUTS / name)
    made = reproduce(trace, seed=1)
    critical = 1.63 * np.sqrt(1 / trace.requests + 1 / made.requests)  # Kolmogorov-Smirnov at 1 %
    assert _ks(trace.input_tokens, made.input_tokens) < critical
    assert _ks(trace.output_tokens, made.output_tokens) < critical
    together = [np.corrcoef(np.log(t.input_tokens), np.log(t.output_tokens))[0, 1] for t in (trace, made)]
    assert together[0] == pytest.approx(together[1], abs=0.05)
    assert made.duration_s == pytest.approx(trace.duration_s, rel=0.02)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_reproduced_trace_has_the_rate_by_hour_and_the_dispersion(scale: float) -> None:
    wanted = Burstiness(1.5, 4.0, 12.0, None)
    trace = generate(4, *LENGTHS, duration_s=86_400, seed=9, shape="daily", dispersion=wanted)
    made = reproduce(trace, seed=10, scale=scale)
    by_hour = [np.bincount((t.arrival_s // 3600).astype(int), minlength=24)[:24] for t in (trace, made)]
    np.testing.assert_allclose(by_hour[1], scale * by_hour[0], rtol=0.12)
    assert _scales(describe(made).burstiness) == pytest.approx(_scales(describe(trace).burstiness), rel=0.2)


def test_a_trace_on_a_grid_is_reproduced_on_it() -> None:
    smooth = generate(4, *LENGTHS, duration_s=7200, seed=9)
    on_grid = Trace(np.floor(smooth.arrival_s / 3) * 3, smooth.input_tokens, smooth.output_tokens, smooth.cached_tokens)
    found, made = describe(on_grid), describe(reproduce(on_grid, seed=1))
    assert any("grid of 3 s" in note for note in found.demand.notes)
    assert found.burstiness.dispersion_1s == pytest.approx(made.burstiness.dispersion_1s, rel=0.1)
    assert found.burstiness.dispersion_1s > 5  # the grid's
    assert found.demand.dispersion == pytest.approx(1, abs=0.35)  # the traffic's, over minutes


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    a, b, c = (generate(5, *LENGTHS, duration_s=100, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.arrival_s, b.arrival_s)
    np.testing.assert_array_equal(a.input_tokens, b.input_tokens)
    assert a.requests != c.requests or not np.array_equal(a.arrival_s, c.arrival_s)
    np.testing.assert_array_equal(reproduce(a, seed=1).arrival_s, reproduce(b, seed=1).arrival_s)


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"rate_per_s": 0}, "rate_per_s"), ({"duration_s": -1}, "duration_s"), ({"dispersion": 0.5}, "Poisson"),
     ({"rate_per_s": 1e9}, "memory"), ({"rate_per_s": 1e-9}, "no request came"), ({"shape": "noon"}, "unknown shape")],
)  # fmt: skip
def test_a_generator_out_of_range_is_refused(changed: dict[str, object], says: str) -> None:
    given = {
        "rate_per_s": 5.0,
        "duration_s": 100.0,
        "seed": 0,
        "input_lengths": LENGTHS[0],
        "output_lengths": LENGTHS[1],
    }
    with pytest.raises(ValueError, match=says):
        generate(**(given | changed))  # type: ignore[arg-type]
