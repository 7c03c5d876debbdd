"""The ledger holds every request that ended, whatever its names are, and its sums are those of a plain addition."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, select, update
from sqlalchemy.pool import StaticPool

from polyfleet.errors import InputError
from polyfleet.gate.keys import Estimate, OpenDoor, Pass, Used, create_key, list_keys
from polyfleet.gate.keys.ledger import BY, usage
from polyfleet.gate.keys.rows import row_of, write_rows
from polyfleet.gate.keys.tables import LEDGER, prepare
from polyfleet.terms.route import Route

DAY_S = 86_400


def _fill(engine):
    """200 requests of two keys and of none; what they used, as drawn."""
    for name in ("alice", "bob"):
        create_key(engine, name)
    passes = [Pass(facts, "m", admitted_at=1e9) for facts in list_keys(engine)] + [Pass(None, "m", admitted_at=1e9)]
    chance = random.Random(7)
    drawn = []
    for number in range(200):
        leave = chance.choice(passes)
        drawn.append((leave, Used(
            leave.key, chance.choice(["chat-0", "chat-1"]), chance.choice(["chat", "code"]),
            chance.choice(["local", "aws"]), chance.randrange(1000), chance.randrange(1000),
            chance.randrange(10**9) / 1e9, f"id-{number}", chance.choice([200, 200, 200, 429, 502]),
            chance.randrange(2),
        )))  # fmt: skip
    now = list_keys(engine)[0].created_at
    with engine.begin() as connection:
        write_rows(connection, [row_of(p, u, now - DAY_S * (i % 10)) for i, (p, u) in enumerate(drawn)])
    return [u for _, u in drawn], now


@pytest.mark.parametrize("by", ["key", "model", "replica", "provider"])
def test_sums_are_those_of_the_rows(engine, by):
    drawn, _ = _fill(engine)
    name = {"key": "key", "model": "model", "replica": "route_id", "provider": "provider"}[by]
    sums = {}
    for one in drawn:
        label = getattr(one, name) or "(no key)"
        sums.setdefault(label, Counter()).update(
            requests=1, failed=one.status >= 400, resumed=one.resumed, input_tokens=one.input_tokens,
            output_tokens=one.output_tokens, nano=round(one.usd * 1e9),
        )  # fmt: skip
    rows = usage(engine, by)
    assert [row.usd for row in rows] == sorted((row.usd for row in rows), reverse=True)
    for row in rows:
        told = {"requests": row.requests, "failed": row.failed, "resumed": row.resumed, "nano": round(row.usd * 1e9),
                "input_tokens": row.input_tokens, "output_tokens": row.output_tokens}  # fmt: skip
        assert told == dict(sums.pop(row.name))
    assert not sums


def test_only_the_time_asked_for_is_summed(engine):
    _fill(engine)
    assert sum(row.requests for row in usage(engine, "key", since_s=DAY_S * 2.5)) == 60
    assert sum(row.requests for row in usage(engine, "key", since_s=0.0)) == 0
    days = usage(engine, "day")
    assert len(days) == 10
    assert [row.requests for row in days] == [20] * 10
    assert [row.name for row in days] == sorted(row.name for row in days)


def test_a_day_is_named_by_its_date(engine):
    prepare(engine)
    with engine.begin() as connection:
        one = Used("", "r", "m", "local", 1, 1, 0.0, "id", 200)
        rows = [row_of(Pass(None, "m", admitted_at=0.0), one, at) for at in (951_868_799.9, 951_868_800.0)]
        write_rows(connection, rows)
    assert [row.name for row in usage(engine, "day")] == ["2000-02-29", "2000-03-01"]


def test_summing_by_what_there_is_not_names_what_there_is(engine):
    with pytest.raises(InputError, match=", ".join(BY)):
        usage(engine, "colour")


def test_names_that_a_database_refuses_are_written_in_another_form(engine):
    prepare(engine)
    names = ["a\0b", "\ud800", "\x1b[31m", "naïve", "模型", "a'b\"c\\d", "%s %(x)s :y", "x" * 10**6]
    rows = [row_of(Pass(None, "m", admitted_at=0.0), Used("", "r", n, "p", 1, 2, 0.5, "id", 200), 1.0) for n in names]
    with engine.begin() as connection:
        write_rows(connection, rows)
    with engine.connect() as connection:
        stored = list(connection.scalars(select(LEDGER.c.model).order_by(LEDGER.c.id)))
    assert stored == ["a\\x00b", "\\ud800", "\\x1b[31m", "naïve", "模型", "a'b\"c\\d", "%s %(x)s :y", "x" * 297 + "..."]


@pytest.fixture(scope="module")
def memory():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    prepare(engine)
    yield engine
    engine.dispose()


@settings(max_examples=60, deadline=None)
@given(
    names=st.tuples(*[st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), max_size=20)] * 4),
    numbers=st.tuples(*[st.integers(0, 10**9)] * 3),
    at=st.floats(0, 4e9),
    usd=st.floats(0, 1e6),
)
def test_what_is_written_is_read_again(memory, names, numbers, at, usd):
    model, route, provider, request = names
    one = Used("", route, model, provider, numbers[0], numbers[1], usd, request, 200, numbers[2])
    with memory.begin() as connection:
        connection.execute(delete(LEDGER))
        write_rows(connection, [row_of(Pass(None, "m", admitted_at=at), one, at)])
        (row,) = connection.execute(select(LEDGER)).mappings()
    assert (row["route_id"], row["model"], row["provider"], row["request_id"]) == (route, model, provider, request)
    assert (row["input_tokens"], row["output_tokens"], row["resumed"]) == numbers
    assert row["at"] == pytest.approx(at, abs=1e-6)
    assert row["usd_nano"] == round(usd * 1e9)
    assert row["key_id"] is None


def test_rows_are_in_the_database_within_a_second_and_all_at_close(engine):
    async def scenario():
        door = OpenDoor(engine)
        await door.start()
        one = Used("", "r", "m", "local", 1, 1, 0.0, "id", 200)
        door.settle(await door.admit(None, "m", Estimate(1, 1, 0.0)), one)
        async with asyncio.timeout(5):
            while not await asyncio.to_thread(usage, engine, "model"):
                await asyncio.sleep(0.02)
        for _ in range(5_001):  # more than are written at once
            door.settle(await door.admit(None, "m", Estimate(1, 1, 0.0)), one)
        await door.close()

    asyncio.run(scenario())
    assert usage(engine, "model")[0].requests == 5_002


def test_what_a_request_may_cost_is_at_the_dearest_route_and_what_it_cost_at_its_own():
    cheap, dear = (
        Route(id=name, url="http://h:1", served=("m",), provider=name, usd_per_m_input=a, usd_per_m_output=b)
        for name, a, b in (("cheap", 0.5, 1.5), ("dear", 3.0, 15.0))
    )
    assert Estimate.of(1000, 200, [cheap, dear]) == (1000, 200, pytest.approx(0.006))
    assert Estimate.of(1000, 200, []) == (1000, 200, 0.0)
    assert Estimate.of(-5, -(10**400), [dear]) == (0, 0, 0.0)
    assert Estimate.of(0, 10**400, [dear]).usd == pytest.approx(15e6)
    told = Used.on(cheap, Pass(None, "m", admitted_at=0.0), "id", 200, input_tokens=1000, output_tokens=100)
    assert (told.usd, told.route_id, told.provider, told.model) == (pytest.approx(0.00065), "cheap", "cheap", "m")


def test_a_key_that_is_gone_is_still_named(engine):
    _fill(engine)
    with engine.begin() as connection:
        connection.execute(update(LEDGER).where(LEDGER.c.key_id.is_not(None)).values(key_id=999))
    assert {row.name for row in usage(engine, "key")} == {"(no key)"}
