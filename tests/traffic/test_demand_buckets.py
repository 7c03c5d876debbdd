"""Demand keeps the work: every sum is compared with a loop over the raw requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.errors import TraceError
from polyfleet.terms.demand import Demand, Trace
from polyfleet.terms.lengths import Lengths
from polyfleet.traffic import demand_from_rate, describe, generate, read_trace, reproduce, summarise
from polyfleet.traffic.work import QUADRATIC

CUTS = Path(__file__).parents[2] / "examples" / "traces"
CONV, CODE = CUTS / "azure_2023_conv_11min.csv", CUTS / "azure_2023_code_24min.csv"


def _brute_force(trace: Trace) -> tuple[float, float, float]:
    """Prefill, decode and KV residency, request by request and step by step."""
    prefill = decode = kv = 0.0
    for i, o, c in zip(trace.input_tokens, trace.output_tokens, trace.cached_tokens, strict=True):
        prefill += float(i - c) + QUADRATIC * float(int(i) ** 2 - int(c) ** 2)
        decode += float(o)
        kv += float(o) * float(i) + float(o) ** 2 / 2
    return prefill, decode, kv


def _planned(demand: Demand, requests: int) -> tuple[float, float, float]:
    """The same of a one-window demand, a bucket at a time, for as many requests."""
    count = demand.rate_per_s[0] / demand.rate_per_s[0].sum() * requests
    prefill = decode = kv = 0.0
    for n, b in zip(count, demand.buckets, strict=True):
        prefill += n * (b.input_tokens - b.cached_tokens + QUADRATIC * (b.input_tokens**2 - b.cached_tokens**2))
        decode += n * b.output_tokens
        kv += n * b.output_tokens * (b.input_tokens + b.output_tokens / 2)
    return prefill, decode, kv


def _with_prefixes(trace: Trace, seed: int) -> Trace:
    share = np.random.default_rng(seed).choice([0.0, 0.05, 0.5, 0.97], trace.requests)
    cached = (trace.input_tokens * share).astype(np.int64)
    return Trace(trace.arrival_s, trace.input_tokens, trace.output_tokens, cached)


def _wide(seed: int, count_per_s: float = 5) -> Trace:
    made = generate(
        count_per_s, Lengths.lognormal(6000, 3.5), Lengths.lognormal(200, 3), duration_s=1800, seed=seed, dispersion=2
    )
    return _with_prefixes(made, seed)


@pytest.mark.parametrize(
    "trace", [read_trace(CONV), read_trace(CODE), _wide(1), _wide(2)], ids=["conv", "code", "w1", "w2"]
)
@pytest.mark.parametrize("buckets", [None, 64])
def test_buckets_keep_prefill_decode_and_kv_within_two_percent(trace: Trace, buckets: int | None) -> None:
    demand = summarise(trace, buckets=buckets)
    errors = [abs(p / t - 1) for p, t in zip(_planned(demand, trace.requests), _brute_force(trace), strict=True)]
    assert max(errors) < 0.02
    assert errors[1] < 1e-9  # decode is linear: exact
    assert demand.work_error == pytest.approx(max(errors), abs=1e-9)  # what is stated is what is found
    assert demand.mean_rate_per_s == pytest.approx(trace.requests / trace.duration_s)
    if buckets:
        assert len(demand.buckets) == buckets


def test_work_is_lost_without_size_buckets() -> None:
    trace = _wide(1)
    errors = [
        p / t - 1
        for p, t in zip(_planned(summarise(trace, buckets=1), trace.requests), _brute_force(trace), strict=True)
    ]
    assert min(errors) < -0.1  # the 2 % above are earned by the buckets, not by the trace


@given(
    st.lists(st.tuples(st.integers(1, 10**8), st.integers(1, 10**6), st.floats(0, 1)), min_size=2, max_size=40),
    st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_buckets_of_any_trace_keep_counts_and_tokens(rows: list[tuple[int, int, float]], buckets: int) -> None:
    inp, out = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    cached = np.array([int(i * s) for i, _, s in rows])
    trace = Trace(np.arange(len(rows), dtype=float), inp, out, cached)
    found = describe(trace, buckets=buckets)
    demand = found.demand
    assert 1 <= len(demand.buckets) <= buckets
    seconds = trace.duration_s
    assert demand.rate_per_s.sum() * seconds == pytest.approx(len(rows))
    for name, total in (("input_tokens", inp), ("output_tokens", out), ("cached_tokens", cached)):
        means = np.array([getattr(b, name) for b in demand.buckets])
        assert demand.rate_per_s[0] @ means * seconds == pytest.approx(float(total.sum()), abs=1e-6)
    for row in found.buckets:
        assert row.input_range[0] - 1 <= row.bucket.input_tokens <= row.input_range[1] + 1
        assert row.output_range[0] - 1 <= row.bucket.output_tokens <= row.output_range[1] + 1
    assert sum(r.share_requests for r in found.buckets) == pytest.approx(1)
    assert sum(r.share_kv_residency for r in found.buckets) == pytest.approx(1)


def test_one_size_is_one_bucket_and_says_so() -> None:
    trace = generate(5, Lengths.fixed(1000), Lengths.fixed(100), duration_s=300, seed=0)
    demand = summarise(trace, buckets=64)
    assert [(b.input_tokens, b.output_tokens) for b in demand.buckets] == [(1000, 100)]
    assert any(note.startswith("only 1 buckets") for note in demand.notes)


def test_a_million_token_prompt_is_kept_apart() -> None:
    inp, out = np.array([500] * 999 + [1_000_000]), np.full(1000, 100)
    demand = summarise(Trace(np.arange(1000.0), inp, out, np.zeros(1000, dtype=np.int64)))
    assert max(b.input_tokens for b in demand.buckets) == 1_000_000


def test_the_summary_shows_what_numpy_finds() -> None:
    trace, found = read_trace(CONV), describe(CONV)
    assert found.requests == trace.requests
    assert found.mean_input_tokens == pytest.approx(trace.input_tokens.mean())
    for row, tokens in enumerate((trace.input_tokens, trace.output_tokens)):
        expected = np.quantile(tokens, [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0], method="inverted_cdf")
        np.testing.assert_allclose(found.quantiles[row], expected, rtol=1e-3)
    assert found.size_counts.sum() == trace.requests
    edges = np.histogram2d(trace.input_tokens, trace.output_tokens, bins=[found.input_edges, found.output_edges])[0]
    np.testing.assert_array_equal(found.size_counts, edges)
    assert found.rate_per_s.sum() * found.rate_bin_s == pytest.approx(trace.requests)
    minute = np.bincount((trace.arrival_s // 60).astype(int))
    assert found.peak_rate_per_s == pytest.approx(minute.max() / 60, rel=0.05)  # its minutes are the clock's
    assert found.is_sorted
    assert found.start == "2023-11-16T18:30:46.844867000Z"
    assert found.worst_window_error == pytest.approx(found.demand.work_error)  # one window is the whole


@pytest.mark.parametrize(("inp", "out"), [("lognormal", "lognormal"), ("uniform", "fixed"), ("empirical", "lognormal")])
def test_demand_from_a_rate_is_the_limit_of_generated_traces(inp: str, out: str) -> None:
    dists = {
        "lognormal": Lengths.lognormal(900, 2.1),
        "uniform": Lengths.uniform(50, 4000),
        "fixed": Lengths.fixed(210),
        "empirical": Lengths.empirical(read_trace(CONV).input_tokens),
    }
    exact = demand_from_rate(50, dists[inp], dists[out])
    drawn = generate(50, dists[inp], dists[out], duration_s=4000, seed=5)
    for planned, found in zip(_planned(exact, drawn.requests), _brute_force(drawn), strict=True):
        assert planned == pytest.approx(found, rel=0.03)  # 2 % of the buckets, 1 % of chance
    assert exact.work_error <= 0.02
    assert exact.mean_rate_per_s == pytest.approx(50)


def test_demand_scales_cleanly() -> None:
    once = summarise(CONV)
    for twice in (summarise(CONV, scale=2), summarise(CONV, scale=1.6, growth=1.25), once.scaled(2)):
        np.testing.assert_allclose(twice.rate_per_s, 2 * once.rate_per_s)
        assert (twice.buckets, twice.windows, twice.dispersion) == (once.buckets, once.windows, once.dispersion)
    with pytest.raises(ValueError, match="positive"):
        once.scaled(0)
    with pytest.raises(ValueError, match="bucket"):
        summarise(CONV, buckets=0)


def test_a_reproduced_trace_gives_the_same_demand() -> None:
    trace = read_trace(CONV)
    again = summarise(reproduce(trace, seed=1))
    first = summarise(trace)
    assert again.mean_rate_per_s == pytest.approx(first.mean_rate_per_s, rel=0.06)
    assert _planned(again, 1)[2] == pytest.approx(_planned(first, 1)[2], rel=0.06)


def test_prompts_cached_whole_leave_decode_and_kv() -> None:
    inp = np.array([100, 5000, 200, 900])
    found = describe(Trace(np.arange(4.0), inp, np.array([5, 50, 500, 7]), inp))
    assert found.prefix_share == 1
    assert {row.share_prefill for row in found.buckets} == {0}
    assert found.demand.work_error < 0.02


def test_no_requests_at_all_are_refused_and_empty_ones_left_out() -> None:
    with pytest.raises(TraceError, match="no requests"):
        summarise(iter([]))
    inp, out = np.array([5, 0, 7, 8]), np.array([5, 5, 0, 8])
    demand = summarise(Trace(np.arange(4.0), inp, out, np.zeros(4, dtype=np.int64)))
    assert (demand.requests, demand.dropped) == (2, 2)
