"""The plan file: round trip, refusal, and figures that add up."""

import math

import pytest

from polyfleet.errors import PlanFileError
from polyfleet.plan.make import plan_problem
from polyfleet.plan.problem_file import from_file, to_file
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.terms.plan import Plan, plan_from_json, plan_to_json

PROBLEM = draw(Shape(buckets=3, windows=2, providers=4, vendors=3, chips=6, rate_per_s=8.0, hosts=2), 7)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_problem(PROBLEM)


def test_a_plan_comes_back_from_its_file_unchanged(plan: Plan) -> None:
    read = plan_from_json(plan_to_json(plan))
    assert read.digest == plan.digest
    assert plan_to_json(read) == plan_to_json(plan)


def test_a_plan_file_that_was_changed_is_refused(plan: Plan) -> None:
    dearer = plan_to_json(plan).replace(f'"usd_per_month": {plan.usd_per_month!r}', '"usd_per_month": 1.0', 1)
    assert dearer != plan_to_json(plan)
    with pytest.raises(PlanFileError, match="was changed"):
        plan_from_json(dearer, file="plan.json")


def test_the_problem_in_the_file_solves_to_the_same_plan(plan: Plan) -> None:
    again = plan_problem(from_file(plan_from_json(plan_to_json(plan)).problem))
    assert again.digest == plan.digest


def test_the_problem_comes_back_with_its_infinities() -> None:
    assert to_file(from_file(to_file(PROBLEM))) == to_file(PROBLEM)


def test_times_are_not_part_of_the_digest(plan: Plan) -> None:
    slower = plan.model_copy(update={"solver": plan.solver.model_copy(update={"seconds_solve": 99.0})})
    assert slower.digest == plan.digest


def test_lines_windows_and_rentals_add_up_to_the_bill(plan: Plan) -> None:
    assert math.fsum(x.usd_per_month for x in plan.lines) == pytest.approx(plan.usd_per_month, rel=1e-9)
    assert math.fsum(w.usd_per_month for w in plan.windows) == pytest.approx(plan.usd_per_month, rel=1e-9)


def test_traffic_shares_add_up_to_one(plan: Plan) -> None:
    for workload in plan.workloads:
        shares = [x.traffic_share for x in plan.lines if x.workload == workload.name]
        assert math.fsum(shares) == pytest.approx(1.0, abs=1e-6)


def test_capacity_covers_the_staffed_demand_in_every_scenario(plan: Plan) -> None:
    for row in plan.capacity:
        own = min(row.capacity_per_s, row.staffed_per_s)
        head = row.staffed_per_s / row.demand_per_s
        assert own + row.hosted_per_s * head >= row.staffed_per_s * (1 - 1e-3)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "9"}', "\x00", "null"])
def test_what_is_no_plan_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(PlanFileError, match=r"broken\.json"):
        plan_from_json(text, file="broken.json")


def test_the_schema_names_every_part() -> None:
    schema = Plan.model_json_schema()
    assert {"lines", "routes", "losses", "limits", "problem"} <= set(schema["properties"])
