"""Limits of hosts as the gate keeps them, on real sockets. Oracle: the host refuses whoever comes too early."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from itertools import repeat

import orjson
import pytest
from cutting_engine import ask
from mock_host import CHAT, STREAM, MockHost, gate_of, gauges, refusal, route, run

from polyfleet.gate.pool.pool import Ask, Outcome, Pool
from polyfleet.terms.route import Route, Routes


async def _asked(gate, times, body=CHAT):
    """Who answered each, and with what status."""
    answers = [await ask(gate.port, body) for _ in range(times)]
    return Counter((status, headers.get("x-polyfleet-route")) for status, headers, _ in answers)


@pytest.mark.parametrize(
    "limit",
    [
        {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1000ms"},
        {"anthropic-ratelimit-input-tokens-remaining": "0", "anthropic-ratelimit-input-tokens-reset": "MOMENT"},
    ],
    ids=["requests", "tokens", "anthropic"],
)
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_a_host_that_has_nothing_left_is_not_asked_until_its_reset(tmp_path, limit, body):
    def headers():
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        return {name: moment if value == "MOMENT" else value for name, value in limit.items()}

    async def test():
        limited, other = MockHost(headers=headers), MockHost()
        async with limited.serve() as url, other.serve() as other_url:
            routes = [route("limited", url, weight=1000.0), route("other", other_url)]
            async with gate_of(tmp_path, *routes) as gate:
                first = await _asked(gate, 1, body)
                meanwhile = await _asked(gate, 20, body)
                held = gauges(gate, "polyfleet_route_held")
                while gate.pool._lanes["limited"].held is not None:
                    await asyncio.sleep(0.01)
                waited = await _asked(gate, 1, body)
        assert first == waited == {(200, "limited"): 1}
        assert meanwhile == {(200, "other"): 20}
        assert held == {"rate_limited limited": 1.0}

    run(test())


def test_a_host_near_its_limit_is_given_less(tmp_path):
    """Two hundredths of the limit are left; below a tenth the part of requests that are offered to it goes to 0."""
    near_limit = {
        "x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "20", "x-ratelimit-reset-tokens": "60s",
    }  # fmt: skip

    async def test():
        near, other = MockHost(headers=lambda: near_limit), MockHost()
        async with near.serve() as url, other.serve() as other_url:
            routes = [route("near", url, weight=100.0), route("other", other_url)]
            async with gate_of(tmp_path, *routes) as gate:
                first = await _asked(gate, 1)
                shares = await _asked(gate, 200)
        assert first == {(200, "near"): 1}
        assert 20 <= shares[200, "near"] <= 60, "a fifth of 200, give or take four deviations"

    run(test())


def test_no_more_are_in_flight_than_a_host_has_left():
    """At the pool, where what is in flight can be counted."""
    both = Routes(
        routes=(Route(**route("limited", "http://a.test", weight=1000.0)), Route(**route("b", "http://b.test")))
    )
    pool = Pool(both)
    first = pool.begin("limited", Ask(10, 8))
    first.heard(200, [(b"x-ratelimit-limit-requests", b"100"), (b"x-ratelimit-remaining-requests", b"3")])
    first.done(Outcome.OK, 8)
    for _ in range(50):
        pool.begin(pool.pick("chat", Ask(10, 8)).id, Ask(10, 8))
    assert pool._lanes["limited"].flights <= 4
    assert pool._lanes["b"].flights >= 46


@pytest.mark.parametrize(
    "refused",
    [
        refusal(429, "slow down", "retry-after: 1\r\n"),
        refusal(429, "slow down", "retry-after-ms: 900\r\n"),
        refusal(429, "slow down"),
        refusal(529, "overloaded"),
        refusal(503, "busy", "retry-after: 1\r\n"),
    ],
    ids=["seconds", "milliseconds", "unsaid", "anthropic", "busy"],
)
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_a_refusal_goes_to_another_route_and_no_client_hears_of_it(tmp_path, monkeypatch, refused, body):
    monkeypatch.setenv("HOST_KEY", "sk")

    async def test():
        full, other = MockHost(script=repeat(refused)), MockHost()
        async with full.serve() as url, other.serve() as other_url:
            routes = [route("full", url, key_env="HOST_KEY", weight=1000.0), route("other", other_url)]
            async with gate_of(tmp_path, *routes) as gate:
                answers = await _asked(gate, 40, body)
        assert answers == {(200, "other"): 40}
        assert len(full.seen) <= 2, "asked again and again although it said no"

    run(test())


def test_refusals_without_a_time_are_asked_less_and_less_often(tmp_path, monkeypatch):
    monkeypatch.setenv("HOST_KEY", "sk")

    async def test():
        full, other = MockHost(script=repeat(refusal(429, "no quota"))), MockHost()
        async with full.serve() as url, other.serve() as other_url:
            routes = [route("full", url, key_env="HOST_KEY", weight=1000.0), route("other", other_url)]
            async with gate_of(tmp_path, *routes) as gate:
                ends = time.monotonic() + 2.0
                while time.monotonic() < ends:
                    await _asked(gate, 1)
        assert len(full.seen) <= 3, "0.5 s, 1 s, 2 s, ..."

    run(test())


def test_the_only_host_is_waited_for_where_that_is_short_and_told_of_where_it_is_long(tmp_path):
    async def test(after, patience_s):
        host = MockHost(script=iter([refusal(429, "slow", f"retry-after: {after}\r\n")]))
        async with host.serve() as url, gate_of(tmp_path, route("a", url), patience_s=patience_s) as gate:
            answers = [await ask(gate.port, CHAT), await ask(gate.port, CHAT)]
            return answers, len(host.seen)

    short, seen = asyncio.run(test(1, 5.0))
    assert [status for status, _, _ in short] == [200, 200]
    assert seen == 3
    long, seen = asyncio.run(test(120, 2.0))
    assert [status for status, _, _ in long] == [429, 429]
    assert seen == 1
    for _, headers, body in long:
        assert 110 <= int(headers["retry-after"]) <= 120
        assert orjson.loads(body)["error"]["code"] == "rate_limited"


def test_limits_stand_in_the_metrics(tmp_path, caplog):
    caplog.set_level(logging.WARNING)

    async def test():
        host = MockHost(headers=lambda: {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0",
                                         "x-ratelimit-reset-requests": "6m0s"})  # fmt: skip
        async with host.serve() as url, gate_of(tmp_path, route("a", url)) as gate:
            await ask(gate.port, CHAT)
            return [gauges(gate, f"polyfleet_{name}") for name in ("rate_limit", "rate_limit_remaining", "holds_total")]

    label = "requests a 0"
    limits, left, holds = asyncio.run(test())
    assert (limits, left, holds) == ({label: 60.0}, {label: 0.0}, {"rate_limited a": 1.0})


def test_hundreds_at_once_pass_a_host_that_allows_fifty_and_no_client_sees_a_429(tmp_path, monkeypatch):
    """A host with a bucket of 50 a second beside one without a limit: none fails, and the host is hardly asked past
    its limit."""
    monkeypatch.setenv("HOST_KEY", "sk")

    async def test():
        window, used, refused = time.monotonic(), 0, 0
        limited, other = MockHost(), MockHost()

        def script():
            nonlocal window, used, refused
            while True:
                now = time.monotonic()
                if now - window >= 1.0:
                    window, used = now, 0
                used += 1
                refused += used > 50
                yield refusal(429, "limit", "retry-after: 1\r\n") if used > 50 else None

        def headers():
            left = max(0, 50 - used)
            reset_ms = max(1, int((window + 1 - time.monotonic()) * 1000))
            return {
                "x-ratelimit-limit-requests": "50",
                "x-ratelimit-remaining-requests": str(left),
                "x-ratelimit-reset-requests": f"{reset_ms}ms",
            }

        limited.script, limited.headers = script(), headers
        async with limited.serve() as url, other.serve() as other_url:
            routes = [route("limited", url, key_env="HOST_KEY", weight=4.0), route("other", other_url)]
            async with gate_of(tmp_path, *routes) as gate:
                answers: Counter = Counter()
                for _ in range(8):
                    batch = await asyncio.gather(*(ask(gate.port, CHAT) for _ in range(50)))
                    answers.update((status, headers["x-polyfleet-route"]) for status, headers, _ in batch)
        assert set(answers) == {(200, "limited"), (200, "other")}
        assert sum(answers.values()) == 400
        assert answers[200, "limited"] >= 45
        assert refused <= 40, "few were sent past the limit"

    run(test())
