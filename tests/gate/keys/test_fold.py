"""Old rows of the ledger become sums by day; what `usage` tells does not change by it, whoever is killed meanwhile."""

import random
import signal
import subprocess
import sys

import pytest
from sqlalchemy import func, select

from polyfleet.gate.keys import Pass, Used, create_key, list_keys
from polyfleet.gate.keys.fold import fold
from polyfleet.gate.keys.ledger import BY, usage
from polyfleet.gate.keys.rows import row_of, write_rows
from polyfleet.gate.keys.tables import DAY_S, LEDGER, LEDGER_DAYS

_FOLDER = """
import sys
from polyfleet.database import open_database
from polyfleet.gate.keys.fold import fold
engine = open_database(sys.argv[1])
print("ready", flush=True)
while fold(engine, keep_s=86400.0, rows=7):
    print("more", flush=True)
"""


@pytest.fixture
def rows(engine):
    """1000 requests of two keys and of none, over the last 30 days; the time of the newest."""
    for name in ("alice", "bob"):
        create_key(engine, name)
    passes = [Pass(facts, "m", admitted_at=1e9) for facts in list_keys(engine)] + [Pass(None, "m", admitted_at=1e9)]
    chance, now = random.Random(7), list_keys(engine)[0].created_at
    made = []
    for number in range(1000):
        leave = chance.choice(passes)
        used = Used(
            leave.key, chance.choice(["chat-0", "chat-1"]), chance.choice(["chat", "code"]),
            chance.choice(["local", "aws"]), chance.randrange(1000), chance.randrange(1000),
            chance.randrange(10**9) / 1e9, f"id-{number}", chance.choice([200, 200, 429, 502]), chance.randrange(2),
        )  # fmt: skip
        made.append(row_of(leave, used, now - chance.uniform(0, 30 * DAY_S)))
    with engine.begin() as connection:
        write_rows(connection, made)
    return now


def _told(engine, since_s=None):
    return {by: usage(engine, by, since_s=since_s) for by in BY}


def _counts(engine):
    with engine.connect() as connection:
        return tuple(connection.scalar(select(func.count()).select_from(table)) for table in (LEDGER, LEDGER_DAYS))


@pytest.mark.usefixtures("rows")
def test_sums_stay_when_rows_are_folded(engine):
    before = _told(engine)
    steps = 1
    while fold(engine, keep_s=7.0 * DAY_S, rows=20):
        steps += 1
    left, sums = _counts(engine)
    assert left < 350  # about 8 days of 30
    assert 0 < sums < (1000 - left) / 1.2
    assert steps > 23
    assert _told(engine) == before


@pytest.mark.usefixtures("rows")
def test_what_is_not_old_keeps_its_rows(engine):
    assert not fold(engine)
    assert _counts(engine) == (1000, 0)


@pytest.mark.parametrize("days", [3, 20])
def test_since_counts_whole_days_of_what_is_folded_and_seconds_of_what_is_not(engine, rows, days):
    with engine.connect() as connection:
        times = list(connection.scalars(select(LEDGER.c.at)))
    while fold(engine, keep_s=7.0 * DAY_S):
        pass
    since = rows - days * DAY_S
    exact = sum(at >= since for at in times)
    whole = sum(at >= since // DAY_S * DAY_S for at in times)
    told = sum(row.requests for row in usage(engine, "model", since_s=days * DAY_S))
    assert abs(told - (exact if days == 3 else whole)) <= 1  # the test itself took a moment
    assert exact != whole


@pytest.mark.usefixtures("rows")
def test_a_folder_that_is_killed_at_any_moment_loses_and_doubles_nothing(engine, state_url):
    before, chance = _told(engine), random.Random(3)
    kills = 0
    while True:
        process = subprocess.Popen([sys.executable, "-c", _FOLDER, state_url], stdout=subprocess.PIPE, text=True)
        with process.stdout as said:
            assert said.readline() == "ready\n"
            for _ in range(chance.randrange(1, 30)):
                if not said.readline():
                    break
            process.send_signal(signal.SIGKILL)
        process.wait()
        assert _told(engine) == before
        if not fold(engine, keep_s=DAY_S, rows=7):
            break
        kills += 1
    assert kills >= 4
    assert _counts(engine)[0] < 100


@pytest.mark.usefixtures("rows")
def test_two_that_fold_at_once_count_each_row_once(engine, state_url):
    before = _told(engine)
    command = [sys.executable, "-c", _FOLDER, state_url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        process.communicate(timeout=60)
    assert [process.returncode for process in running] == [0, 0]
    assert _told(engine) == before
