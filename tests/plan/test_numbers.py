"""Packing, cuts, the timeline and the solver's edge."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.errors import SolverError, SpecError
from polyfleet.plan.batch_hours import BatchRun, running_share, shortest_run_h
from polyfleet.plan.blocks import whole_block
from polyfleet.plan.cuts import Prices, base_cut, loss_cut
from polyfleet.plan.limits.demand import limit_survive_any
from polyfleet.plan.master import Master
from polyfleet.plan.pool import seeded
from polyfleet.plan.problem import packed_chips
from polyfleet.plan.routing import serve_base, serve_loss
from polyfleet.plan.sheet import Sheet
from polyfleet.plan.solver import Program, Rows, Status
from polyfleet.plan.stack import stack_up
from polyfleet.plan.synthetic import Shape, draw
from polyfleet.plan.timeline import common_timeline
from polyfleet.terms.demand import Bucket, Demand, Window


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


@given(st.floats(0.5, 24.0), st.sampled_from([1, 24, 168]), st.sampled_from([1.0, 6.0, 24.0, 168.0]))
def test_batch_work_runs_its_share_of_every_period(run_h: float, windows: int, every_h: float) -> None:
    run = BatchRun(Bucket(1000.0, 100.0), 500.0, every_h, min(run_h, every_h))
    load = 1.0 + np.sin(np.arange(windows))
    share = running_share(load, np.full(windows, 730.0 / windows), run)
    assert share.mean() == pytest.approx(run.share)
    if windows == 168 and every_h == 24.0:
        np.testing.assert_allclose(share.reshape(7, 24).sum(axis=1), run.run_h)


@given(st.integers(1, 23), st.integers(0, 2**32 - 1))
def test_batch_hours_are_the_quietest_run_of_the_day(run_h: int, seed: int) -> None:
    load = np.random.default_rng(seed).uniform(0, 1, 24)
    share = running_share(load, np.ones(24), BatchRun(Bucket(1.0, 1.0), 1.0, 24.0, float(run_h)))
    best = min(sum(load[(s + i) % 24] for i in range(run_h)) for s in range(24))
    assert share @ load == pytest.approx(best)
    assert set(share.tolist()) <= {0.0, 1.0}


def test_batch_windows_stay_apart_and_hold_the_whole_work() -> None:
    run = BatchRun(Bucket(1000.0, 100.0), 9000.0, 24.0, 7.5)
    line = common_timeline({"a": demand(168)}, {"night": run}, most=8)
    done = float(line.hours @ line.rates["night"][:, 0]) * 3600.0
    assert done == pytest.approx(9000.0 * 730.0 / 24.0)
    assert set(np.round(line.rates["night"][:, 0], 9)) == {0.0, round(run.per_s, 9)}
    assert line.hours[line.rates["night"][:, 0] > 0].sum() == pytest.approx(730.0 * 7.5 / 24.0)


@given(st.floats(1.0, 1e7), st.floats(0.5, 24.0), st.floats(0.01, 100.0))
def test_the_shortest_run_fills_the_fewest_replicas_in_time(requests: float, within_h: float, per_s: float) -> None:
    run_h = shortest_run_h(requests, within_h, per_s)
    replicas = requests / (per_s * run_h * 3600.0)
    assert run_h <= within_h * (1 + 1e-6)
    assert replicas == pytest.approx(round(replicas))
    assert (round(replicas) - 1) * per_s * within_h * 3600.0 < requests * (1 + 1e-9)


def test_hours_of_equal_load_are_one_window() -> None:
    shape = np.tile([1.0, 2.0, 3.0], 8)[:, None]
    names = tuple(Window(f"h{i}", 730.0 / 24) for i in range(24))
    line = common_timeline({"a": Demand(names, (Bucket(100.0, 10.0),), shape)})
    assert sorted(line.rates["a"][:, 0].tolist()) == pytest.approx([1.0, 2.0, 3.0])


@pytest.mark.parametrize("seed", range(6))
def test_the_rounded_sum_of_losses_holds_for_every_fleet_that_survives_them(seed: int) -> None:
    problem = draw(Shape(workloads=1, buckets=2, providers=3, chips=4, rate_per_s=3.0, cap=None), seed)
    stacks = stack_up(problem)
    pool = seeded(problem, stacks)
    master = Master(problem, stacks, pool, whole_block(problem))
    sheet = Sheet(problem, stacks, master.block, master.columns)
    for kind in ("provider", "chip_vendor"):
        lost = [s for s in master.standby(0) if problem.limits.losses[s].kind == kind]
        for cuts in zip(*(pool.lost[0][s] for s in lost), strict=True):
            limit_survive_any(sheet, 0, 0, cuts, kind)
    rows = sheet.take()
    assert rows.lower.size
    rng, held = np.random.default_rng(seed), 0
    demand = problem.needs[0].staffed_per_s[0]
    for _ in range(300):
        replicas = rng.integers(0, 2, stacks[0].options.size) * rng.integers(1, 4, stacks[0].options.size)
        if all(serve_loss(stacks[0], demand, replicas.astype(float), s).share >= 1.0 - 1e-9 for s in master.standby(0)):
            x = np.zeros(master.columns.count)
            x[master.columns.replica[0][0]] = replicas
            assert (np.add.reduceat(rows.values * x[rows.columns], rows.starts) >= rows.lower - 1e-9).all()
            held += 1
    assert held >= 5


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
