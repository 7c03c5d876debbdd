"""Several workers on one state never let in more than a key may use. The oracle is the sum of what the workers say."""

import json
import select as select_module
import signal

from sqlalchemy import func, select

from polyfleet.gate.keys import create_key, list_keys
from polyfleet.gate.keys.tables import LEASES, LEDGER


def _sums(engine):
    with engine.connect() as connection:
        rows, nano = connection.execute(select(func.count(), func.coalesce(func.sum(LEDGER.c.usd_nano), 0))).one()
        leased = connection.scalar(select(func.coalesce(func.sum(LEASES.c.amount), 0)))
    return int(rows), int(nano), int(leased)


def test_workers_that_race_for_the_last_of_a_budget_never_overspend_it(engine, racers):
    key = create_key(engine, "team", budget_usd=3.0)
    running = racers(3, key=key, most_usd=0.02, clients=8, seconds=30, refusals=1, until="insufficient_quota")
    told = [json.loads(process.communicate()[0]) for process in running]
    used = sum(one["used_nano"] for one in told)
    assert used <= 3_000_000_000
    assert used > 2_960_000_000  # none is refused while there is enough for it
    assert all(one["refused"].get("insufficient_quota") for one in told)
    assert _sums(engine) == (sum(one["admitted"] for one in told), used, 0)
    assert list_keys(engine)[0].budgets[0].used == used


def test_workers_that_share_a_rate_never_let_in_more_in_any_minute(engine, racers):
    key = create_key(engine, "team", rate_requests_per_min=300)
    running = racers(3, key=key, most_usd=0.02, clients=8, seconds=30, lasts_s=0.0, refusals=3)
    told = [json.loads(process.communicate()[0]) for process in running]
    assert sum(one["admitted"] for one in told) == 300
    assert all(one["refused"]["rate_limit_exceeded"] for one in told)


def test_what_a_killed_worker_holds_counts_as_spent(engine, racers):
    key = create_key(engine, "team", budget_usd=3.0)
    running = racers(3, key=key, most_usd=0.02, clients=8, seconds=2)
    _wait_until(lambda: _sums(engine)[1] > 500_000_000, running[0])
    running[0].send_signal(signal.SIGKILL)
    told = [json.loads(process.communicate()[0]) for process in running[1:]]
    _, nano, leased = _sums(engine)
    used = list_keys(engine)[0].budgets[0].used
    assert used == nano
    assert nano + leased <= 3_000_000_000
    assert sum(one["used_nano"] for one in told) <= nano  # the rest the killed one had told before


def _wait_until(true, process):
    while not true():
        assert process.poll() is None
        select_module.select([process.stdout], [], [], 0.05)
