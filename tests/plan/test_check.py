"""The checker finds what is wrong with a plan, and finds nothing wrong with any plan that is made."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_tiny import tiny

from polyfleet.errors import InfeasibleError
from polyfleet.plan.check import check_plan
from polyfleet.plan.make import plan_problem
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.terms.offer import Purchase
from polyfleet.terms.plan import Plan

PROBLEM = draw(Shape(buckets=3, providers=4, vendors=3, chips=6, rate_per_s=8.0, hosts=1), 7)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_problem(PROBLEM)


def test_a_sound_plan_has_no_faults(plan: Plan) -> None:
    assert check_plan(plan, PROBLEM) == []


def test_requests_left_out_are_found(plan: Plan) -> None:
    faults = check_plan(plan.model_copy(update={"routes": plan.routes[1:]}), PROBLEM)
    assert any("gets" in f for f in faults)


def test_a_replica_too_few_is_found(plan: Plan) -> None:
    own = next(line for line in plan.lines if line.kind == "own" and line.traffic_share > 0)
    fewer = own.model_copy(update={"replicas": tuple(0 for _ in own.replicas)})
    lines = tuple(fewer if line.id == own.id else line for line in plan.lines)
    assert any("carries" in f for f in check_plan(plan.model_copy(update={"lines": lines}), PROBLEM))


def test_an_instance_too_few_is_found(plan: Plan) -> None:
    less = plan.rentals[0].model_copy(update={"instances": tuple(n - 1 for n in plan.rentals[0].instances)})
    faults = check_plan(plan.model_copy(update={"rentals": (less, *plan.rentals[1:])}), PROBLEM)
    assert any("do not fit" in f for f in faults)
    assert any("its parts cost" in f for f in faults)


def test_a_loss_that_nobody_takes_over_is_found(plan: Plan) -> None:
    assert plan.losses
    assert any("who takes over" in f for f in check_plan(plan.model_copy(update={"losses": ()}), PROBLEM))


def test_a_broken_share_is_found(plan: Plan) -> None:
    limits = PROBLEM.limits
    tight = dataclasses.replace(limits, caps=tuple(dataclasses.replace(c, share=0.05) for c in limits.caps))
    assert any("tokens of" in f for f in check_plan(plan, dataclasses.replace(PROBLEM, limits=tight)))


def test_a_plan_over_budget_is_found(plan: Plan) -> None:
    poor = dataclasses.replace(PROBLEM.limits, budget_usd_per_month=plan.usd_per_month / 2)
    assert any("over the budget" in f for f in check_plan(plan, dataclasses.replace(PROBLEM, limits=poor)))


def test_a_build_that_the_catalog_does_not_allow_is_found(plan: Plan) -> None:
    own = next(line for line in plan.lines if line.kind == "own")
    odd = own.model_copy(update={"build": "3xnothing"})
    lines = tuple(odd if line.id == own.id else line for line in plan.lines)
    assert any("is no build" in f for f in check_plan(plan.model_copy(update={"lines": lines}), PROBLEM))


SHAPES = st.builds(
    Shape,
    workloads=st.integers(1, 3),
    windows=st.integers(1, 3),
    buckets=st.integers(1, 5),
    providers=st.integers(1, 4),
    vendors=st.integers(1, 3),
    chips=st.integers(2, 5),
    rate_per_s=st.floats(0.1, 200.0),
    cap=st.sampled_from([None, 0.5, 0.6, 0.8]),
    survive=st.sampled_from([(), ("provider",), ("chip_vendor",), ("provider", "chip_vendor")]),
    slo_factor=st.sampled_from([1.0, 1.5]),
    hosts=st.integers(0, 3),
    purchases=st.sampled_from([(Purchase.ON_DEMAND,), (Purchase.ON_DEMAND, Purchase.RESERVED_1Y)]),
)


def passes(shape: Shape, seed: int) -> None:
    problem = draw(shape, seed)
    try:
        plan = plan_problem(problem, gap=0.05)
    except InfeasibleError:
        return
    assert check_plan(plan, problem) == []


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(SHAPES, st.integers(0, 10_000))
def test_every_plan_passes(shape: Shape, seed: int) -> None:
    passes(shape, seed)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(1000, 1_000_000))
def test_every_tiny_plan_passes(seed: int) -> None:
    problem = tiny(seed)
    try:
        assert check_plan(plan_problem(problem, gap=0.01), problem) == []
    except InfeasibleError as error:
        assert error.clash or "whole replicas" in str(error)  # noqa: PT017


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(SHAPES, st.integers(0, 1_000_000))
def test_every_plan_passes_on_1000_random_problems(shape: Shape, seed: int) -> None:
    passes(shape, seed)
