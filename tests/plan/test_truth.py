"""The plan is the cheapest: against trying every plan, and against what must hold of any cheapest plan."""

import dataclasses
import math

import numpy as np
import pytest
from plan_brute import cheapest
from plan_tiny import tiny

from polyfleet.errors import InfeasibleError
from polyfleet.plan.dominance import without_dominated
from polyfleet.plan.make import in_units, plan_problem, solve
from polyfleet.plan.problem import Limits, Problem
from polyfleet.plan.problem_file import from_file
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.terms.offer import Purchase


def planned(problem: Problem, gap: float = 1e-7) -> float:
    try:
        return plan_problem(problem, gap=gap).usd_per_month
    except InfeasibleError:
        return math.inf


def agrees(seed: int) -> None:
    problem = tiny(seed)
    assert planned(problem) == pytest.approx(cheapest(problem), rel=1e-5), f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_the_plan_costs_what_the_cheapest_of_all_plans_costs(first: int) -> None:
    for seed in range(first, first + 10):
        agrees(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(30, 230, 20))
def test_the_plan_costs_what_the_cheapest_of_all_plans_costs_on_200_more(first: int) -> None:
    for seed in range(first, first + 20):
        agrees(seed)


SMALL = Shape(buckets=4, providers=4, vendors=3, chips=6, rate_per_s=5.0)


def test_doubling_all_prices_doubles_the_cost_and_moves_nothing() -> None:
    problem = draw(dataclasses.replace(SMALL, hosts=2), 3)
    once, twice = plan_problem(problem), plan_problem(in_units(problem, 0.5))
    assert twice.usd_per_month == pytest.approx(2 * once.usd_per_month, rel=1e-12)
    assert twice.routes == once.routes
    assert [r.instances for r in twice.rentals] == [r.instances for r in once.rentals]


def test_the_same_input_gives_the_same_bytes() -> None:
    problem = draw(dataclasses.replace(SMALL, hosts=2), 5)
    first, second = plan_problem(problem), plan_problem(problem)
    assert first.digest == second.digest
    assert first.model_dump_json(exclude={"solver"}) == second.model_dump_json(exclude={"solver"})


@pytest.mark.parametrize("seed", range(3))
def test_relaxing_a_limit_never_costs_more(seed: int) -> None:
    problem = draw(SMALL, seed)
    limits = problem.limits
    looser = (
        dataclasses.replace(limits, caps=tuple(dataclasses.replace(c, share=0.8) for c in limits.caps)),
        dataclasses.replace(limits, losses=tuple(s for s in limits.losses if s.kind == "provider")),
        dataclasses.replace(limits, keep=0.5),
        Limits(),
    )
    base = planned(problem, 1e-4)
    for changed in looser:
        assert planned(dataclasses.replace(problem, limits=changed), 1e-4) <= base * (1 + 2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_options_left_out_as_dominated_would_not_have_made_it_cheaper(seed: int) -> None:
    from polyfleet.plan.month import solve_month
    from polyfleet.plan.search import Effort

    problem = draw(SMALL, seed)
    small = without_dominated(problem)
    assert len(small.options) < len(problem.options)
    whole, less = (solve_month(p, Effort(gap=1e-6)) for p in (problem, small))
    assert less.usd == pytest.approx(whole.usd, rel=1e-5)


@pytest.mark.parametrize("purchases", [(Purchase.ON_DEMAND,), (Purchase.ON_DEMAND, Purchase.RESERVED_1Y)])
def test_windows_one_by_one_come_close_to_all_at_once(
    purchases: tuple[Purchase, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = dataclasses.replace(SMALL, windows=3, chips=4, providers=3, rate_per_s=20.0, purchases=purchases)
    problem = draw(shape, 2)
    monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 10_000)
    joint = solve(problem, gap=0.002)
    monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 0)
    apart = plan_problem(problem, gap=0.01)  # checked on the way out
    assert apart.bound_usd_per_month <= joint.usd * (1 + 1e-6)
    monkeypatch.setattr("polyfleet.plan.month.JOINT_COLUMNS", 10_000)
    parted = solve(from_file(apart.problem), gap=0.002)  # with the windows cut as the plan cuts them
    assert parted.bound <= apart.usd_per_month * (1 + 1e-6)
    assert apart.usd_per_month <= joint.usd * 1.15


def test_commitments_pay_all_hours_and_on_demand_follows_the_day() -> None:
    problem = draw(Shape(workloads=1, windows=2, buckets=2, providers=2, vendors=2, chips=3, rate_per_s=60.0, cap=None,
                         survive=(), purchases=(Purchase.ON_DEMAND, Purchase.RESERVED_3Y)), 1)  # fmt: skip
    plan = plan_problem(problem, gap=1e-4)
    kinds = {r.purchase for r in plan.rentals}
    assert "reserved_3y" in kinds
    for rental in plan.rentals:
        if rental.purchase == "reserved_3y":
            assert len(set(rental.instances)) == 1
            assert rental.usd_per_month == pytest.approx(rental.instances[0] * rental.usd_per_hour * 730)


def test_batch_work_is_done_in_its_windows_only() -> None:
    seeds = [s for s in range(200) if tiny(s).needs[-1].is_batch and len(tiny(s).windows) == 2]
    done = 0
    for seed in seeds:
        problem = tiny(seed)
        try:
            plan = plan_problem(problem, gap=1e-5)
        except InfeasibleError:
            continue
        name, need = problem.needs[-1].name, problem.needs[-1]
        for t, rate in enumerate(need.rate_per_s[:, 0]):
            served = sum(r.requests_per_s for r in plan.routes if r.workload == name and r.window == t)
            assert served == pytest.approx(rate, rel=1e-5)
        done += 1
    assert done >= 3


def test_a_host_with_no_limit_stands_by_for_nothing() -> None:
    problem = draw(dataclasses.replace(SMALL, hosts=3, cap=None, survive=("provider",)), 4)
    kept = tuple(h for h in problem.hosted if h.workload == 0)[:3]
    needs, options = problem.needs[:1], tuple(o for o in problem.options if o.workload == 0)
    one = dataclasses.replace(problem, needs=needs, options=options, hosted=kept)
    free = dataclasses.replace(one, limits=Limits())
    assert planned(one, 1e-5) == pytest.approx(planned(free, 1e-5), rel=1e-4)


def test_price_steps_are_climbed_in_order() -> None:
    for seed in range(60):
        problem = tiny(seed)
        if not any(len(b.steps) > 1 for b in problem.boxes):
            continue
        try:
            plan = plan_problem(problem, gap=1e-6)
        except InfeasibleError:
            continue
        rented = {r.offer: np.array(r.instances) for r in plan.rentals}
        for box in problem.boxes:
            for cheap, dear in zip(box.steps, box.steps[1:], strict=False):
                if dear.offer_id in rented:
                    assert cheap.quota is not None
                    assert (rented.get(cheap.offer_id, 0) >= cheap.quota).any()
