"""Why, compare and breakeven: differences that must hold."""

import numpy as np
import pytest

from polyfleet.plan.breakeven import _crossing
from polyfleet.plan.compare import compare_problem
from polyfleet.plan.document_lines import build_text
from polyfleet.plan.make import plan_problem, solve
from polyfleet.plan.restrict import without_option
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.plan.why import why
from polyfleet.plan.why_scope import MOST_WHOLE, solve_size, solved_again
from polyfleet.terms.plan import plan_from_json, plan_to_json

PROBLEM = draw(Shape(buckets=3, providers=4, vendors=3, chips=6, rate_per_s=30.0, hosts=1), 7)


def test_reasons_come_from_the_file_alone_and_each_is_a_true_difference() -> None:
    plan = plan_from_json(plan_to_json(plan_problem(PROBLEM)))
    reasons = why(plan)
    assert {r.line for r in reasons.lines} == {x.id for x in plan.lines if x.usd_per_month > 0}
    assert all(r.usd_more_per_month is None or r.usd_more_per_month >= 0 for r in reasons.lines)
    own = next(x for x in plan.lines if x.kind == "own" and x.traffic_share > 0)
    told = next(r for r in reasons.lines if r.line == own.id)
    mine = [o for o in PROBLEM.options if PROBLEM.needs[o.workload].name == own.workload]
    there = [o for o in mine if PROBLEM.boxes[o.box].steps[0].offer_id in own.offers]
    option = next(o for o in there if build_text(o.build) == own.build)
    then = solve(without_option(PROBLEM, option), gap=0.003)
    assert told.usd_more_per_month is not None
    assert told.usd_more_per_month == pytest.approx(then.usd - plan.usd_per_month, abs=2 * reasons.accuracy_usd + 1)


SMALL = draw(Shape(workloads=1, windows=3, buckets=2, providers=3, vendors=2, chips=4, rate_per_s=10.0, hosts=1), 3)


def test_a_small_plan_of_several_windows_is_solved_again_as_a_whole() -> None:
    assert solve_size(SMALL) <= MOST_WHOLE
    plan = plan_problem(SMALL, gap=0.003)
    told: list[str] = []
    reasons = why(plan, progress=told.append)
    assert reasons.scope == "the whole month, 3 windows"
    assert told[0] == "solving the plan again"
    assert told[-1].startswith(f"{len(told) - 1} of {len(told) - 1}: without ")
    own = max((x for x in plan.lines if x.kind == "own"), key=lambda x: x.usd_per_month)
    reason = next(r for r in reasons.lines if r.line == own.id)
    option = next(
        o for o in SMALL.options
        if build_text(o.build) == own.build and SMALL.boxes[o.box].steps[0].offer_id in own.offers
    )  # fmt: skip
    then = solve(without_option(SMALL, option), gap=0.003)
    assert reason.usd_more_per_month is not None
    assert reason.usd_more_per_month == pytest.approx(then.usd - plan.usd_per_month, abs=2 * reasons.accuracy_usd + 1)


def test_a_large_plan_of_several_windows_is_solved_again_on_its_busiest_one() -> None:
    large = draw(Shape(workloads=3, windows=24, buckets=2, chips=8), 1)
    problem, scope = solved_again(large)
    assert problem.hours.size == 1
    assert scope.startswith("the busiest window")
    assert solve_size(large) > MOST_WHOLE


def test_each_bucket_names_who_serves_it_and_who_nearly_did() -> None:
    plan = plan_problem(PROBLEM)
    reasons = why(plan, most_lines=0)
    assert len(reasons.buckets) == sum(len(w.buckets) for w in plan.workloads)
    for row in reasons.buckets:
        assert sum(share for _, share in row.served_by) == pytest.approx(1.0)
        assert row.runner_up


def test_no_limits_is_never_dearer_and_one_cloud_is_never_cheaper_than_no_limits() -> None:
    rows = {r.name.split(":")[0]: r for r in compare_problem(PROBLEM)}
    plan, free = rows["this plan"].usd_per_month, rows["no limits at all"].usd_per_month
    assert plan is not None
    assert free is not None
    assert free <= plan * 1.01
    for name in ("best single cloud", "best single chip vendor", "best single chip", "all on demand, no hosts"):
        row = rows[name]
        assert (row.usd_per_month is None) == bool(row.why_not)
        assert row.usd_per_month is None or row.usd_per_month >= free * 0.99


def test_what_cannot_be_done_says_why() -> None:
    no_hosts = draw(Shape(buckets=2, providers=3, vendors=2, chips=4, rate_per_s=5.0), 2)
    row = next(r for r in compare_problem(no_hosts) if r.name == "all hosted by the token")
    assert row.usd_per_month is None
    assert "nothing serves" in row.why_not


def test_the_crossing_of_a_fixed_cost_and_a_price_per_request_is_the_first_rate_above_their_ratio() -> None:
    grid = np.geomspace(0.1, 1000, 40)
    found = _crossing(grid, np.full(grid.size, 500.0), 20.0 * grid)
    assert found is not None
    assert 25.0 <= found <= 25.0 * grid[1] / grid[0]


def test_there_is_no_crossing_where_own_chips_stay_dearer() -> None:
    grid = np.geomspace(0.1, 1000, 10)
    assert _crossing(grid, 3.0 * grid, 2.0 * grid) is None
