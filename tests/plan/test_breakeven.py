"""Own chips or tokens: judged by prices read off the catalog by hand, and by what the curves must satisfy."""

import math

import numpy as np
import pytest

from polyfleet import api
from polyfleet.terms.spec_text import parse_source

SPEC = """\
workloads:
  chat:
    model: Qwen/Qwen3-32B
    precision: [bf16, fp8]
    traffic: {rate: 4/s, input: 900, output: 200, shape: daily}
    slo: {ttft: 3s p95, tpot: 80ms p95}
  closed:
    model: anthropic/claude-haiku-4-5
    traffic: {rate: 1/s, input: 900, output: 200}
policy: {regions: [us, eu]}
"""


@pytest.fixture(scope="module")
def inputs():
    return api.load_inputs(parse_source(SPEC))


@pytest.fixture(scope="module")
def curves(inputs):
    return {(c.workload, c.shape): c for c in api.breakeven(inputs)}


def test_there_is_a_curve_for_each_day_shape(curves):
    assert {shape for name, shape in curves if name == "chat"} == {"flat", "weekday", "its own"}


def test_tokens_cost_the_cheapest_listed_price_times_the_requests(inputs, curves):
    prices = [
        900 * o.usd_per_million_input / 1e6 + 200 * o.usd_per_million_output / 1e6
        for o in inputs.catalog.sold("Qwen/Qwen3-32B")
        if {"us", "eu"} & set(o.continent.split("+"))
    ]
    curve = curves["chat", "flat"]
    monthly = curve.rate_per_s * 730 * 3600 * min(prices)
    known = np.isfinite(curve.hosted_usd)
    assert known[: known.size // 2].all()
    assert np.all(curve.hosted_usd[known] >= monthly[known] * (1 - 1e-9))
    assert curve.hosted_usd[0] == pytest.approx(monthly[0])


def test_a_closed_model_is_only_sold(curves):
    curve = curves["closed", "flat"]
    assert np.isinf(curve.own_usd).all()
    assert curve.crossing_per_s == (None, None, None)


def test_next_to_no_traffic_costs_one_instance_of_the_cheapest_that_serves(inputs, curves):
    cheapest = curves["chat", "flat"].own_usd[1, 0] / 730
    prices = {o.usd_per_hour for o in inputs.catalog.offers}
    assert any(cheapest == pytest.approx(p) for p in prices)


def test_slower_chips_cost_more_and_more_traffic_never_costs_less(curves):
    for curve in curves.values():
        fast, middle, slow = curve.own_usd
        assert np.all(fast <= middle)
        assert np.all(middle <= slow)
        finite = middle[np.isfinite(middle)]
        assert np.all(np.diff(finite) >= 0)


def test_own_chips_are_cheaper_from_the_crossing_on_and_not_just_before(curves):
    for curve in curves.values():
        for cost, crossing in zip(curve.own_usd, curve.crossing_per_s, strict=True):
            if crossing is None:
                assert not (math.isfinite(cost[-1]) and cost[-1] <= curve.hosted_usd[-1] < math.inf)
                continue
            at = int(np.searchsorted(curve.rate_per_s, crossing * (1 - 1e-12)))
            assert np.all(cost[at:] <= curve.hosted_usd[at:])
            assert at == 0 or cost[at - 1] > curve.hosted_usd[at - 1]
