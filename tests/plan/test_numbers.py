"""Packing, cuts, the timeline and the solver's edge."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.errors import SolverError, SpecError
from polyfleet.plan.cuts import Prices, base_cut, loss_cut
from polyfleet.plan.problem import packed_chips
from polyfleet.plan.routing import serve_base, serve_loss
from polyfleet.plan.solver import Program, Rows, Status
from polyfleet.plan.stack import stack_up
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.plan.timeline import batch_windows, common_timeline, with_batch_window
from polyfleet.terms.demand import Bucket, Demand, Window
from polyfleet.terms.spec import Batch


@given(st.integers(1, 32), st.integers(1, 32))
def test_a_packed_size_holds_the_replica_and_divides_the_box(replica: int, box: int) -> None:
    packed = packed_chips(replica, box)
    if replica > box:
        assert packed == 0
    else:
        assert replica <= packed <= box
        assert box % packed == 0


@given(st.integers(1, 32))
def test_packed_sizes_of_a_box_form_a_chain(box: int) -> None:
    sizes = sorted({packed_chips(n, box) for n in range(1, box + 1)})
    assert all(large % small == 0 for small, large in itertools.pairwise(sizes))


@pytest.mark.parametrize("seed", range(4))
def test_cuts_hold_for_every_fleet_that_serves_the_demand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = draw(Shape(workloads=1, buckets=5, providers=3, chips=5, hosts=2), seed)
    stack = stack_up(problem)[0]
    demand = problem.needs[0].staffed_per_s[0]
    for _ in range(20):
        replicas = rng.integers(0, 3, stack.options.size).astype(float)
        spend = rng.uniform(0, 1e-3, stack.hosted.size)
        tokens = rng.uniform(0.3, 1.0, stack.caps.size) * float(demand @ stack.need.tokens)
        prices = Prices(rng.uniform(0, 1, 5), rng.uniform(0, 1e-4, stack.caps.size), np.zeros(stack.hosted.size))
        cut = base_cut(stack, prices)
        served = serve_base(stack, demand, replicas, spend, tokens)
        worth = cut.own @ replicas + cut.hosted @ spend + cut.capped @ tokens + cut.constant
        assert worth >= served.share * (cut.bucket @ demand) * (1 - 1e-6)
        for loss in range(len(problem.limits.losses)):
            after = serve_loss(stack, demand, replicas, loss)
            price = loss_cut(stack, prices.bucket, loss)
            assert price.own @ replicas + price.constant >= after.share * (price.bucket @ demand) * (1 - 1e-6)


def demand(windows: int, rate: float = 1.0) -> Demand:
    shape = 1.0 + np.sin(np.arange(windows))
    names = tuple(Window(f"h{i}", 730.0 / windows) for i in range(windows))
    return Demand(names, (Bucket(100.0, 10.0),), rate * shape[:, None])


def test_all_hours_hours_of_the_day_and_hours_of_the_week_go_together() -> None:
    line = common_timeline({"a": demand(1), "b": demand(24)})
    assert line.rates["a"].shape == (24, 1)
    assert line.hours.sum() == pytest.approx(730.0)


def test_many_windows_are_merged_and_keep_hours_and_requests() -> None:
    line = common_timeline({"a": demand(168), "b": demand(24, 3.0)})
    assert line.hours.size == 24
    assert line.hours.sum() == pytest.approx(730.0)
    for name, d in (("a", demand(168)), ("b", demand(24, 3.0))):
        before = sum(w.hours_per_month * r for w, r in zip(d.windows, d.rate_per_s[:, 0], strict=True))
        assert line.hours @ line.rates[name][:, 0] == pytest.approx(before)


def test_windows_that_cannot_be_laid_over_each_other_are_refused() -> None:
    with pytest.raises(SpecError, match="laid over"):
        common_timeline({"a": demand(5), "b": demand(24)})


@given(st.floats(1.0, 24.0), st.sampled_from([1, 24]))
def test_batch_work_gets_exactly_its_time_in_the_quietest_windows(within_h: float, windows: int) -> None:
    batch = Batch(input_tokens=1e9, output_tokens=1e8, every="1d", within=f"{within_h}h")
    line = with_batch_window(common_timeline({"a": demand(windows)}), batch)
    may = batch_windows(line, batch)
    assert line.hours[may].sum() == pytest.approx(730.0 * within_h / 24.0, rel=1e-5)
    if may.any() and not may.all():
        assert line.load()[may].max() <= line.load()[~may].min() + 1e-9


def test_an_infeasible_program_says_so_and_has_no_objective() -> None:
    program = Program(np.ones(1), np.zeros(1), np.ones(1), np.array([True]))
    program.add_rows(Rows(np.array([2.0]), np.array([np.inf]), np.array([0]), np.array([0]), np.array([1.0])))
    assert program.solve_relaxed().status is Status.INFEASIBLE
    assert program.solve_whole(gap=0.0, nodes=10, seconds=5.0).status is Status.INFEASIBLE


def test_an_unbounded_program_is_an_error_and_no_answer() -> None:
    program = Program(-np.ones(1), np.zeros(1), np.full(1, np.inf), np.array([False]))
    with pytest.raises(SolverError):
        program.solve_relaxed()


def test_whole_numbers_cost_more_than_fractions() -> None:
    program = Program(np.array([1.0, 1.5]), np.zeros(2), np.full(2, np.inf), np.array([True, True]))
    program.add_rows(Rows(np.array([3.5]), np.array([np.inf]), np.array([0]), np.array([0, 1]), np.array([1.0, 2.0])))
    assert program.solve_relaxed().objective == pytest.approx(2.625)
    assert program.solve_whole(gap=0.0, nodes=100, seconds=5.0).objective == pytest.approx(3.0)
