"""Months of many windows: cut where shares cannot be kept otherwise, caps of one window held in it."""

import dataclasses

import numpy as np
import pytest

from polyfleet.plan.make import plan_problem, solve
from polyfleet.plan.problem import Cap, Need, Problem
from polyfleet.plan.restrict import in_parts
from polyfleet.plan.synthetic import Shape, draw

LOW = Shape(workloads=1, windows=2, buckets=2, providers=3, vendors=2, chips=4, rate_per_s=2.0, survive=())


def at_low_rates(seed: int) -> Problem:
    """One replica serves all of a window, so that with whole windows a supplier has all, half or nothing."""
    problem = draw(LOW, seed)
    rate = problem.needs[0].rate_per_s
    needs = tuple(dataclasses.replace(n, rate_per_s=rate * 1e-3) for n in problem.needs)
    return dataclasses.replace(problem, needs=needs)


def test_a_window_is_cut_where_shares_over_the_month_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 0)
    cut = 0
    for seed in range(8):
        problem = at_low_rates(seed)
        plan = plan_problem(problem, gap=0.001)  # checked on the way out
        assert plan.status == "proven"
        assert sum(w.hours_per_month for w in plan.windows) == pytest.approx(730.0)
        assert plan.usd_per_month == pytest.approx(sum(w.usd_per_month for w in plan.windows))
        cut += len(plan.windows) > 2
    assert cut >= 2


def test_cutting_a_window_gives_no_better_plan_than_the_bound_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        problem = at_low_rates(seed)
        monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 0)
        apart = solve(problem, gap=0.001)
        monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 100_000)
        finer = solve(in_parts(problem, [(t, 0.25) for t in (0, 0, 0, 0, 1, 1, 1, 1)]), gap=0.001)
        assert apart.bound <= finer.usd * (1 + 1e-6)


def test_parts_keep_hours_and_rates_and_are_named() -> None:
    problem = draw(LOW, 1)
    parts = in_parts(problem, [(0, 0.3), (0, 0.7), (1, 1.0)])
    np.testing.assert_allclose(parts.hours, [0.3 * 365, 0.7 * 365, 365])
    assert parts.windows == ("w0, part 1 of 2", "w0, part 2 of 2", "w1")
    assert parts.cap_tokens(Cap("provider", "cloud0", 0.5, (0,))) == pytest.approx(
        problem.cap_tokens(Cap("provider", "cloud0", 0.5, (0,)))
    )


def test_a_cap_on_work_of_one_window_is_held_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 0)
    problem = draw(dataclasses.replace(LOW, workloads=2, rate_per_s=20.0, cap=None), 3)
    batch = Need("night", np.array([[9.0, 4.0], [0.0, 0.0]]), np.ones(2), problem.needs[1].tokens, is_batch=True)
    vendors = {b.supplier.chip_vendor for b in problem.boxes}
    caps = tuple(Cap("chip_vendor", v, 0.55, (1,)) for v in sorted(vendors))
    limits = dataclasses.replace(problem.limits, caps=caps)
    plan = plan_problem(dataclasses.replace(problem, needs=(problem.needs[0], batch), limits=limits), gap=0.01)
    assert plan.status == "proven"
