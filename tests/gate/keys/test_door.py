"""The door lets in who may, refuses in time and in words, and counts each request once."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from polyfleet.database import open_database
from polyfleet.gate.keys import Door, Estimate, OpenDoor, Used, create_key, list_keys, revoke_key, teller
from polyfleet.gate.keys.exchange import reap
from polyfleet.gate.keys.ledger import usage
from polyfleet.gate.keys.tables import WORKERS
from polyfleet.gate.pool.refused import Refused

SMALL = Estimate(10, 10, 0.001)


def used(usd=0.001, tokens=20, **other):
    row = {"key": "k", "route_id": "r1", "model": "m", "provider": "local", "input_tokens": tokens, "output_tokens": 0,
           "usd": usd, "request_id": "id", "status": 200}  # fmt: skip
    return Used(**{**row, **other})


@asynccontextmanager
async def opened(door):
    await door.start()
    try:
        yield door
    finally:
        await door.close()


async def refusal(door, key, model="m", estimate=SMALL):
    with pytest.raises(Refused) as no:
        await door.admit(key, model, estimate)
    return no.value


def _workers(engine):
    with engine.connect() as connection:
        return set(connection.scalars(select(WORKERS.c.id)))


async def _asked(door, key, usd=0.001):
    """None where it is let in."""
    try:
        door.settle(await door.admit(key, "m", Estimate(1, 1, usd)), used(usd))
    except Refused as no:
        return no
    return None


def test_a_key_is_asked_and_named_by_its_name_only(engine):
    key = create_key(engine, "team", models=["chat", "embed"])

    async def scenario():
        async with opened(Door(engine)) as door:
            for presented in (key, f"Bearer {key}", f"bearer  {key} "):
                leave = await door.admit(presented, "chat", SMALL)
                assert (leave.key, leave.admin, leave.model) == ("team", False, "chat")
            for presented in (None, "", "Bearer ", "x", key[:-1], "pf-\ud800\udc00\0", key.upper()):
                no = await refusal(door, presented, "chat")
                assert (no.status, no.code) == (401, "invalid_api_key")
            no = await refusal(door, key, "other")
            assert (no.status, no.code) == (403, "model_not_allowed")
            assert "'team'" in no.message
            assert "chat, embed" in no.message
            assert key not in no.message

    asyncio.run(scenario())


def test_a_running_door_hears_of_new_and_of_revoked_keys(engine):
    async def scenario():
        async with opened(Door(engine)) as door:
            key = await asyncio.to_thread(create_key, engine, "late", budget_usd=1)
            assert (await door.admit(key, "m", SMALL)).key == "late"
            await asyncio.to_thread(revoke_key, engine, "late")
            async with asyncio.timeout(3):
                while (no := await _asked(door, key)) is None:
                    await asyncio.sleep(0.02)
            assert no.status == 401

    asyncio.run(scenario())


def test_what_is_held_comes_back_when_less_is_used(engine):
    key = create_key(engine, "team", budget_usd=1.0)

    async def scenario():
        async with opened(Door(engine)) as door:
            leave = await door.admit(key, "m", Estimate(1, 1, 0.7))
            no = await refusal(door, key, estimate=Estimate(1, 1, 0.4))
            assert (no.status, no.code) == (429, "rate_limit_exceeded")
            assert "in flight" in no.message
            door.settle(leave, used(0.1))
            door.settle(leave, used(0.1))  # counts once
            door.settle(await door.admit(key, "m", Estimate(1, 1, 0.9)), used(0.9))
            no = await refusal(door, key, estimate=Estimate(1, 1, 0.01))
            assert (no.status, no.code, no.retry_after_s) == (429, "insufficient_quota", None)
            free = await door.admit(key, "m", Estimate(1, 1, 0.0))  # what costs nothing needs no budget
            door.settle(free, used(0.0))

    asyncio.run(scenario())
    assert list_keys(engine)[0].budgets[0].used == 1_000_000_000
    assert [(row.requests, row.usd) for row in usage(engine, "key")] == [(3, 1.0)]


def test_what_was_used_beyond_the_estimate_is_counted_too(engine):
    key = create_key(engine, "team", budget_usd=1.0)

    async def scenario():
        async with opened(Door(engine)) as door:
            door.settle(await door.admit(key, "m", Estimate(1, 1, 0.5)), used(1.25))
            assert (await refusal(door, key)).code == "insufficient_quota"

    asyncio.run(scenario())
    assert list_keys(engine)[0].budgets[0].used == 1_250_000_000


def test_a_request_larger_than_the_whole_is_told_so_at_once(engine):
    key = create_key(engine, "team", budget_usd=1.0, rate_tokens_per_min=100)

    async def scenario():
        async with opened(Door(engine)) as door:
            for estimate, code in (
                (Estimate(1, 1, 1.01), "insufficient_quota"), (Estimate(60, 41, 0.1), "rate_limit_exceeded")
            ):  # fmt: skip
                no = await refusal(door, key, estimate=estimate)
                assert (no.status, no.code, no.retry_after_s) == (429, code, None)
                assert "max_tokens" in no.message

    asyncio.run(scenario())


def test_retry_after_tells_when_the_rate_lets_in_again(engine):
    now = [1000.0]
    key = create_key(engine, "team", rate_requests_per_min=3)

    async def scenario():
        async with opened(Door(engine, clock=lambda: now[0], usable_s=1e9)) as door:
            for _ in range(3):
                await door.admit(key, "m", SMALL)
                now[0] += 7.0
            no = await refusal(door, key)
            assert no.code == "rate_limit_exceeded"
            assert 38.0 <= no.retry_after_s <= 40.0  # the first came 21 s ago
            now[0] += no.retry_after_s - 0.3
            assert (await refusal(door, key)).retry_after_s <= 0.55
            now[0] += 0.55
            await door.admit(key, "m", SMALL)
            assert (await refusal(door, key)).code == "rate_limit_exceeded"

    asyncio.run(scenario())


def test_tokens_that_were_not_used_may_be_used_by_others(engine):
    key = create_key(engine, "team", rate_tokens_per_min=100)

    async def scenario():
        async with opened(Door(engine)) as door:
            leave = await door.admit(key, "m", Estimate(20, 70, 0))
            assert (await refusal(door, key, estimate=Estimate(5, 6, 0))).code == "rate_limit_exceeded"
            door.settle(leave, used(tokens=30))
            await door.admit(key, "m", Estimate(20, 50, 0))
            assert (await refusal(door, key, estimate=Estimate(0, 1, 0))).code == "rate_limit_exceeded"

    asyncio.run(scenario())


def test_a_budget_is_anew_after_its_period(engine):
    key = create_key(engine, "team", budget_usd=1.0, per_s=2)

    async def scenario():
        async with opened(Door(engine)) as door:
            late = await door.admit(key, "m", Estimate(1, 1, 1.0))
            no = await refusal(door, key)
            while no.code == "rate_limit_exceeded":  # held by the request that is in flight
                assert no.retry_after_s == 1.0
                await asyncio.sleep(0.05)
                try:
                    leave = await door.admit(key, "m", Estimate(1, 1, 1.0))
                    break
                except Refused as again:
                    no = again
            door.settle(late, used(1.0))  # of the period before: this one is not charged
            door.settle(leave, used(0.4))
            door.settle(await door.admit(key, "m", Estimate(1, 1, 0.6)), used(0.6))
            no = await refusal(door, key)
            assert no.code == "insufficient_quota"
            assert 0 < no.retry_after_s <= 2.0

    asyncio.run(scenario())


def test_many_at_once_get_exactly_what_there_is(engine):
    key = create_key(engine, "team", budget_usd=1.0, rate_requests_per_min=500)

    async def scenario():
        async with opened(Door(engine)) as door:
            told = await asyncio.gather(*(door.admit(key, "m", Estimate(1, 1, 0.01)) for _ in range(300)),
                                        return_exceptions=True)  # fmt: skip
            assert sum(not isinstance(one, Exception) for one in told) == 100
            assert {one.code for one in told if isinstance(one, Refused)} == {"rate_limit_exceeded"}

    asyncio.run(scenario())


def test_part_of_a_budget_that_an_idle_worker_holds_is_given_back_to_one_that_needs_it(engine):
    key = create_key(engine, "team", budget_usd=1.0)

    async def scenario():
        async with opened(Door(engine)) as idle, opened(Door(engine)) as busy:
            idle.settle(await idle.admit(key, "m", Estimate(1, 1, 0.02)), used(0.0))
            assert sum(account.held for account in idle._teller._active) > 100_000_000
            async with asyncio.timeout(10):
                while (no := await _asked(busy, key, 1.0)) is not None:
                    assert no.retry_after_s == 1.0  # others hold it still
            assert (await refusal(idle, key, estimate=Estimate(1, 1, 0.02))).status == 429

    asyncio.run(scenario())


def test_while_the_database_is_silent_keys_without_limits_go_on_and_nothing_is_lost(engine, monkeypatch):
    now = [1000.0]
    free, limited = create_key(engine, "free"), create_key(engine, "limited", budget_usd=1)
    real = teller.exchange

    def silent(*_arguments, **_options):
        raise OperationalError("INSERT", {}, Exception("gone"))

    async def scenario():
        async with opened(Door(engine, clock=lambda: now[0])) as door:
            door.settle(await door.admit(limited, "m", SMALL), used())
            monkeypatch.setattr(teller, "exchange", silent)
            door.settle(await door.admit(limited, "m", SMALL), used())  # from what is leased
            now[0] += 11.0
            door.settle(await door.admit(free, "m", SMALL), used())
            waits = asyncio.create_task(refusal(door, limited))
            while not waits.done():
                await asyncio.sleep(0.02)
                now[0] += 0.2
            assert (waits.result().status, waits.result().code) == (503, "state_unavailable")
            monkeypatch.setattr(teller, "exchange", real)

    asyncio.run(scenario())
    assert {row.name: row.requests for row in usage(engine, "key")} == {"free": 1, "limited": 2}
    assert {k.name: k.budgets[0].used for k in list_keys(engine) if k.budgets} == {"limited": 2_000_000}


def test_an_exchange_whose_end_is_not_heard_of_counts_once(engine, monkeypatch):
    key = create_key(engine, "team", budget_usd=10)
    real, told, own = teller.exchange, [], set()

    def broken(engine, turn, **options):
        answer = real(engine, turn, **options)
        if turn.worker not in own:  # another test's gate may be running beside this one
            return answer
        told.append((turn.number, bool(turn.ledger and any(one.spent for one in turn.told))))
        if len(told) <= 3:
            raise OperationalError("COMMIT", {}, Exception("the connection broke after the commit"))
        return answer

    async def scenario():
        async with opened(Door(engine)) as door:
            leaves = [await door.admit(key, "m", Estimate(1, 1, 0.1)) for _ in range(10)]
            own.add(door._teller.worker)
            monkeypatch.setattr(teller, "exchange", broken)
            for leave in leaves:
                door.settle(leave, used(0.1))

    asyncio.run(scenario())
    number, carries = told[0]
    assert carries
    assert told[:4] == [(number, True)] * 4
    assert list_keys(engine)[0].budgets[0].used == 1_000_000_000
    assert [(row.requests, row.usd) for row in usage(engine, "key")] == [(10, 1.0)]


def test_a_worker_that_was_silent_for_too_long_has_lost_its_leases_and_what_it_used_is_still_counted(
    engine, monkeypatch
):
    key, idle = create_key(engine, "team", budget_usd=1), create_key(engine, "idle", budget_usd=1)
    real, cut_off = teller.exchange, set()

    def cut(engine, turn, **options):
        if turn.worker in cut_off:
            raise OperationalError("SELECT", {}, Exception("no route to the database"))
        return real(engine, turn, **options)

    async def scenario():
        monkeypatch.setattr(teller, "exchange", cut)
        async with opened(Door(engine, lease_s=0.4, usable_s=0.1)) as silent:
            leave = await silent.admit(key, "m", Estimate(1, 1, 0.7))
            silent.settle(await silent.admit(idle, "m", Estimate(1, 1, 0.1)), used(0.0))
            cut_off.add(silent._teller.worker)
            async with opened(Door(engine, lease_s=30)) as other:
                assert (await refusal(other, key, estimate=Estimate(1, 1, 0.5))).code == "rate_limit_exceeded"
                async with asyncio.timeout(10):
                    while silent._teller.worker in _workers(engine):
                        await asyncio.sleep(0.02)
                        reap(engine)  # as every worker does from time to time
                await asyncio.sleep(0.9)  # the refusal is remembered for so long
                other.settle(await other.admit(key, "m", Estimate(1, 1, 0.5)), used(0.5))
                await other.admit(idle, "m", Estimate(1, 1, 1.0))
                silent.settle(leave, used(0.6))
                cut_off.clear()
                async with asyncio.timeout(5):
                    while list_keys(engine)[1].budgets[0].used != 1_100_000_000:
                        await asyncio.sleep(0.02)
                assert (await refusal(silent, key)).code == "insufficient_quota"
                assert (await refusal(silent, idle)).code == "rate_limit_exceeded"
                assert (await refusal(other, key)).code == "insufficient_quota"

    asyncio.run(scenario())


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0, 1e300])
def test_what_no_request_can_have_used_counts_as_what_was_held(tmp_path, nonsense):
    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    key = create_key(engine, "team", budget_usd=1)

    async def scenario():
        async with opened(Door(engine)) as door:
            leave = await door.admit(key, "m", Estimate(1, 1, 0.25))
            door.settle(leave, used(nonsense, tokens=10**30))

    asyncio.run(scenario())
    assert [(row.usd, row.input_tokens) for row in usage(engine, "key")] == [(0.25, 0)]
    assert list_keys(engine)[0].budgets[0].used == 250_000_000
    engine.dispose()


def test_without_keys_everybody_is_let_in_and_the_ledger_is_written(engine):
    async def scenario():
        async with opened(OpenDoor(engine)) as door, opened(OpenDoor()) as without:
            for one in (door, without):
                leave = await one.admit(None, "m", SMALL)
                assert (leave.key, leave.key_id, leave.admin) == ("", None, False)
                one.settle(leave, used())
                one.settle(leave, used())

    asyncio.run(scenario())
    assert [(row.name, row.requests) for row in usage(engine, "key")] == [("(no key)", 1)]
