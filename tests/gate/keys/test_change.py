"""A key's limits change while workers use it: what was used and what is in flight stays counted, to the last token."""

import json
import time

import pytest
from sqlalchemy import func, select

from polyfleet.errors import InputError
from polyfleet.gate.keys import Limit, change_key, create_key, list_keys
from polyfleet.gate.keys.account import Budget, Lent, Rate
from polyfleet.gate.keys.passes import Estimate, Used
from polyfleet.gate.keys.store import BudgetFacts
from polyfleet.gate.keys.tables import LEASES, LEDGER


def _limits(engine):
    (facts,) = list_keys(engine)
    return {budget.kind: (budget.limit, budget.per_s) for budget in facts.budgets}, facts.models


def test_only_what_is_given_changes(engine):
    create_key(engine, "team", budget_usd=5, per_s=3600, rate_requests_per_min=60, models=["chat"])
    change_key(engine, "team", budget_usd=Limit(7))
    assert _limits(engine) == ({"usd": (7_000_000_000, 3600), "requests": (60, 60)}, {"chat"})
    change_key(engine, "team", rate_requests_per_min=Limit(None), rate_tokens_per_min=Limit(900))
    assert _limits(engine) == ({"usd": (7_000_000_000, 3600), "tokens": (900, 60)}, {"chat"})
    change_key(engine, "team", per_s=Limit(60), models=["a", "b"])
    assert _limits(engine) == ({"usd": (7_000_000_000, 60), "tokens": (900, 60)}, {"a", "b"})
    change_key(engine, "team", per_s=Limit(None), models=[])
    assert _limits(engine) == ({"usd": (7_000_000_000, None), "tokens": (900, 60)}, frozenset())
    change_key(engine, "team", budget_usd=Limit(None))
    assert _limits(engine) == ({"tokens": (900, 60)}, frozenset())


def test_a_period_keeps_its_beginning_when_its_length_changes(engine):
    create_key(engine, "team", budget_usd=5, per_s=3600)
    (made,) = list_keys(engine)
    for seconds in (7200, 600, None, 1800):
        change_key(engine, "team", per_s=Limit(seconds))
        (facts,) = list_keys(engine)
        ends = None if seconds is None else pytest.approx(made.created_at + seconds, abs=0.01)
        assert facts.budgets[0].ends_at == ends


@pytest.mark.parametrize(
    "asked", [{"budget_usd": Limit(0.0)}, {"per_s": Limit(60)}, {"rate_requests_per_min": Limit(-1)}]
)
def test_what_is_no_limit_changes_nothing(engine, asked):
    create_key(engine, "team", rate_requests_per_min=60)
    with pytest.raises(InputError):
        change_key(engine, "team", models=["x"], **asked)
    assert _limits(engine) == ({"requests": (60, 60)}, frozenset())


def test_a_key_that_there_is_not_cannot_be_changed(engine):
    create_key(engine, "team")
    with pytest.raises(InputError, match="no such key") as told:
        change_key(engine, "tean", models=["x"])
    assert "team" in str(told.value.hint)


def test_after_a_change_nothing_is_taken_before_the_new_limit_was_heard():
    budget = Budget(BudgetFacts(1, "usd", 100), set())
    budget.tell(0.0)
    budget.hear(Lent(0, 60, None, 0, 0, 0), 0.0, 0.0, refuse_s=0.25)
    flying = budget.take(20, 0.0)
    budget.change(BudgetFacts(1, "usd", 30))
    assert budget.free(0.0) == 0
    told = budget.tell(0.0)
    assert (told.need, told.back) == (20, 40)  # what is in flight stays, the rest goes back
    budget.hear(Lent(0, 20, None, 15, 0, 0, over=5), 0.0, 0.0, refuse_s=0.25)
    assert budget.free(0.0) < 0
    budget.settle(flying, Used("k", "r", "m", "p", 1, 1, 0.0, "id", 200))
    assert budget.free(0.0) == 15  # of 30 that are left after 15


def test_what_comes_back_of_a_lowered_rate_is_not_taken_again():
    rate = Rate(BudgetFacts(1, "requests", 100, 60.0), set())
    rate.tell(0.0)
    rate.hear(Lent(0, 100, None, 0, 0, 0), 0.0, 0.0, refuse_s=0.25)
    rate.take(100, 0.0)
    rate.change(BudgetFacts(1, "requests", 10, 60.0))
    rate.tell(0.0)
    rate.hear(Lent(0, 100, None, 0, 0, 0, over=90), 0.0, 0.0, refuse_s=0.25)
    assert rate.free(1.0) == -90
    assert rate.free(61.0) == rate.need_of(Estimate(1, 1, 0.0)) * 10
    assert rate.tell(61.0).back == 90


def _sums(engine):
    with engine.connect() as connection:
        nano = connection.scalar(select(func.coalesce(func.sum(LEDGER.c.usd_nano), 0)))
        leased = connection.scalar(select(func.coalesce(func.sum(LEASES.c.amount), 0)))
    return int(nano), int(leased)


def _admitted(engine):
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(LEDGER)))


def _wait_until(true, processes):
    while not true():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)  # the database tells nobody of its rows; it is asked


def test_a_budget_that_goes_up_and_down_in_a_race_is_never_overspent(engine, racers):
    key = create_key(engine, "team", budget_usd=0.5)
    running = racers(3, key=key, most_usd=0.02, clients=8, seconds=3)
    for number in range(16):
        change_key(engine, "team", budget_usd=Limit(3.0 if number % 2 else 0.5))
        time.sleep(0.05)  # so that gates hear of some changes and miss others
    told = [json.loads(process.communicate()[0]) for process in running]
    used = sum(one["used_nano"] for one in told)
    assert 2_900_000_000 < used <= 3_000_000_000
    assert _sums(engine) == (used, 0)
    assert list_keys(engine)[0].budgets[0].used == used


def test_a_budget_that_is_lowered_below_its_use_ends_within_a_second(engine, racers):
    key = create_key(engine, "team", budget_usd=1000)
    running = racers(3, key=key, most_usd=0.02, clients=8, seconds=3)
    _wait_until(lambda: _sums(engine)[0] > 200_000_000, running)
    change_key(engine, "team", budget_usd=Limit(0.1))
    changed_at = time.clock_gettime(time.CLOCK_MONOTONIC)
    told = [json.loads(process.communicate()[0]) for process in running]
    assert max(max(one["at"]) for one in told) < changed_at + 1.5
    assert all(one["refused"]["insufficient_quota"] for one in told)
    assert _sums(engine) == (sum(one["used_nano"] for one in told), 0)


def test_a_rate_that_is_lowered_and_raised_lets_in_what_the_last_one_says(engine, racers):
    key = create_key(engine, "team", rate_requests_per_min=300)
    running = racers(3, key=key, most_usd=0.02, clients=8, seconds=4, lasts_s=0.0)
    _wait_until(lambda: _admitted(engine) == 300, running)
    change_key(engine, "team", rate_requests_per_min=Limit(100))
    time.sleep(0.7)  # long enough for gates to hear of it
    change_key(engine, "team", rate_requests_per_min=Limit(350))
    told = [json.loads(process.communicate()[0]) for process in running]
    assert sum(one["admitted"] for one in told) == 350


def test_a_limit_that_is_taken_away_is_no_limit(engine, racers):
    key = create_key(engine, "team", rate_requests_per_min=60)
    running = racers(2, key=key, most_usd=0.02, clients=4, seconds=3, lasts_s=0.0)
    _wait_until(lambda: _admitted(engine) == 60, running)
    change_key(engine, "team", rate_requests_per_min=Limit(None))
    _wait_until(lambda: _admitted(engine) > 500, running)
    told = [json.loads(process.communicate()[0]) for process in running]
    assert sum(one["admitted"] for one in told) == _admitted(engine)
