"""The cost at the ends of the speeds' bands: by hand, against a plan made at that speed, and its order."""

from __future__ import annotations

import dataclasses
import io
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from polyfleet.cli.plan_table import print_plan
from polyfleet.errors import PlanFileError
from polyfleet.page.plan_page import plan_page
from polyfleet.plan.make import plan_problem
from polyfleet.plan.problem import Box, Need, Option, Problem, Step, Supplier
from polyfleet.plan.problem_file import from_file
from polyfleet.plan.speed_cost import usd_at_speed
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.terms.build import Build
from polyfleet.terms.offer import Purchase
from polyfleet.terms.plan import Plan, plan_from_json, plan_to_json
from polyfleet.terms.precision import Precision
from polyfleet.terms.show import usd


def alone(
    rates: list[list[float]], capacity: list[float], band: tuple[float, float], purchase: Purchase = Purchase.ON_DEMAND
) -> Problem:
    """One workload, one build of 2 chips on boxes of 8 at 10 USD an hour, windows of 365 hours."""
    rate = np.array(rates)
    need = Need("w", rate, np.ones(len(rates)), np.full(rate.shape[1], 1000.0))
    box = Box(Supplier("cloud", "vendor"), "chip", 8, purchase, (Step("offer", 10.0),))
    build = Build("m", "chip", 2, "e", Precision.BF16, Precision.BF16)
    option = Option(0, 0, build, 2, np.array(capacity), np.array(capacity), band)
    hours = np.full(len(rates), 365.0)
    return Problem(tuple(f"t{t}" for t in range(len(rates))), hours, (need,), (box,), (option,))


def test_by_hand() -> None:
    # 7 requests/s at 1 a replica: 7 replicas, 2 boxes of 4. At half the speed 14: 4 boxes. At twice the speed 4: 1 box.
    plan = plan_problem(alone([[7.0]], [1.0], (0.5, 2.0)))
    box = 10.0 * 365.0
    assert plan.usd_per_month == pytest.approx(2 * box)
    assert plan.usd_per_month_speed_p10 == pytest.approx(4 * box)
    assert plan.usd_per_month_speed_p90 == pytest.approx(1 * box)


def test_room_in_the_boxes_is_used_before_more_are_rented() -> None:
    # 5 replicas stand in 2 boxes of 4; at 0.65 of the speed 8 are needed, which fit.
    plan = plan_problem(alone([[5.0]], [1.0], (0.65, 1.2)))
    assert plan.usd_per_month_speed_p10 == plan.usd_per_month


def test_what_is_paid_for_all_hours_follows_its_busiest_window() -> None:
    plan = plan_problem(alone([[7.0], [1.0]], [1.0], (0.5, 2.0), Purchase.RESERVED_1Y))
    assert plan.usd_per_month_speed_p10 == pytest.approx(4 * 10.0 * 730.0)
    assert plan.usd_per_month_speed_p90 == pytest.approx(1 * 10.0 * 730.0)


def test_a_build_that_keeps_no_promise_at_p10_has_no_cost_there() -> None:
    plan = plan_problem(alone([[7.0]], [1.0], (0.0, 2.0)))
    assert plan.usd_per_month_speed_p10 is None
    assert plan.usd_per_month_speed_p90 is not None
    assert plan_from_json(plan_to_json(plan)).usd_per_month_speed_p10 is None


def test_a_build_that_keeps_no_promise_hands_its_requests_to_the_others() -> None:
    problem = alone([[8.0]], [1.0], (0.5, 2.0))
    other = dataclasses.replace(problem.boxes[0], supplier=Supplier("other", "vendor"), steps=(Step("dear", 11.0),))
    lame = dataclasses.replace(problem.options[0], box=1, band=(0.0, 2.0))
    capped = dataclasses.replace(problem.boxes[0], steps=(Step("offer", 10.0, 1),))
    plan = plan_problem(dataclasses.replace(problem, boxes=(capped, other), options=(*problem.options, lame)))
    assert len(plan.lines) == 2
    # The cheap box keeps all 8 at half speed: 16 replicas, 4 boxes at 10 beside the other, which stays rented.
    assert plan.usd_per_month_speed_p10 == pytest.approx((4 * 10.0 + 11.0) * 365.0)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.lists(st.lists(st.floats(0.5, 40.0), min_size=2, max_size=2), min_size=1, max_size=3),
    capacity=st.lists(st.floats(0.3, 9.0), min_size=2, max_size=2),
    slow=st.floats(0.2, 1.0),
)
def test_with_one_build_it_is_what_a_plan_at_that_speed_costs(
    rates: list[list[float]], capacity: list[float], slow: float
) -> None:
    problem = alone(rates, capacity, (slow, 1.0))
    slower = dataclasses.replace(problem.options[0], capacity=problem.options[0].capacity * slow)
    there = plan_problem(dataclasses.replace(problem, options=(slower,)), gap=1e-6)
    plan = plan_problem(problem, gap=1e-6)
    assert plan.usd_per_month_speed_p10 == pytest.approx(there.usd_per_month, rel=1e-6)


@pytest.fixture(scope="module", params=[3, 7])
def drawn(request: pytest.FixtureRequest) -> Plan:
    shape = Shape(buckets=3, windows=2, providers=4, vendors=3, chips=6, rate_per_s=8.0, hosts=2)
    problem = draw(shape, request.param)
    banded = tuple(dataclasses.replace(o, band=(0.7, 1.4)) for o in problem.options)
    return plan_problem(dataclasses.replace(problem, options=banded))


def test_slower_never_costs_less_and_faster_never_more(drawn: Plan) -> None:
    assert drawn.usd_per_month_speed_p10 is not None
    assert drawn.usd_per_month_speed_p90 is not None
    assert drawn.usd_per_month_speed_p90 <= drawn.usd_per_month <= drawn.usd_per_month_speed_p10
    assert drawn.usd_per_month_speed_p90 < drawn.usd_per_month_speed_p10


def test_a_band_of_nothing_costs_what_the_plan_costs(drawn: Plan) -> None:
    problem = from_file(drawn.problem)
    sure = dataclasses.replace(problem, options=tuple(dataclasses.replace(o, band=(1.0, 1.0)) for o in problem.options))
    assert usd_at_speed(drawn, sure, slow=True) == pytest.approx(drawn.usd_per_month, rel=1e-9)


def test_the_checksum_covers_the_ends_too(drawn: Plan) -> None:
    text = plan_to_json(drawn)
    key = '"usd_per_month_speed_p10": '
    changed = text.replace(f"{key}{drawn.usd_per_month_speed_p10!r}", f"{key}1.0")
    assert changed != text
    with pytest.raises(PlanFileError, match="was changed"):
        plan_from_json(changed)


def test_the_ends_stand_in_the_terminal_and_on_the_page(drawn: Plan) -> None:
    shown = io.StringIO()
    print_plan(Console(file=shown, width=100), drawn, "fleet.yaml")
    ends = f"{usd(drawn.usd_per_month_speed_p10 or 0.0)} / {usd(drawn.usd_per_month_speed_p90 or 0.0)}"
    assert f"cost if speeds are at their P10 / P90: {ends}" in shown.getvalue()
    assert ends in plan_page(drawn, "fleet.yaml", date(2026, 1, 1))
