"""Keys of hosts: where they come from, and what happens where one is missing or refused."""

from __future__ import annotations

import asyncio
import logging
import os

import orjson
import pytest
from cutting_engine import ask
from mock_host import CHAT, STREAM, MockHost, gate_of, gauges, refusal, route, run

from polyfleet.gate.pool.upstream_keys import NoKeyError, UpstreamKeys
from polyfleet.terms.route import Route


def of(keys, **fields):
    return keys.of(Route(id="a", url="https://a.test", served=("chat",), **fields))


def test_a_key_file_is_read_when_it_is_used_and_again_when_it_changes(tmp_path):
    file, warned = tmp_path / "key", []
    file.write_text("sk-one\n")
    file.chmod(0o600)
    keys = UpstreamKeys({}, warned.append)
    assert of(keys, key_file=str(file)) == "sk-one"
    file.write_text("sk-other\n")
    os.utime(file, ns=(1, 1))
    assert of(keys, key_file=str(file)) == "sk-other"
    assert warned == []


def test_a_key_file_that_others_may_read_is_told_of_once_without_the_key(tmp_path):
    file, warned = tmp_path / "key", []
    file.write_text("sk-secret")
    file.chmod(0o644)
    keys = UpstreamKeys({}, warned.append)
    assert [of(keys, key_file=str(file)) for _ in range(3)] == ["sk-secret"] * 3
    assert len(warned) == 1
    assert "chmod 600" in warned[0]
    assert "sk-secret" not in warned[0]


@pytest.mark.parametrize(
    "held", [b"", b" \n", b"two words", "schlüssel".encode(), b"\xff", b"line\nbreak", b"x" * 70_000]
)
def test_what_can_be_no_key_is_none_and_is_not_told(tmp_path, held):
    file = tmp_path / "key"
    file.write_bytes(held)
    file.chmod(0o600)
    with pytest.raises(NoKeyError) as found:
        of(UpstreamKeys({}), key_file=str(file))
    assert "words" not in str(found.value)
    with pytest.raises(NoKeyError, match="HOST_KEY holds no key"):
        of(UpstreamKeys({"HOST_KEY": " "}), key_env="HOST_KEY")
    assert of(UpstreamKeys({})) is None


def test_a_route_without_its_key_is_never_asked_and_told_of_once(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("HOST_KEY", raising=False)
    caplog.set_level(logging.WARNING, "polyfleet.gate")

    async def test():
        locked, own = MockHost(key="sk"), MockHost()
        async with locked.serve() as locked_url, own.serve() as own_url:
            routes = [route("locked", locked_url, key_env="HOST_KEY"), route("own", own_url)]
            async with gate_of(tmp_path, *routes) as gate:
                answers = [await ask(gate.port, CHAT) for _ in range(10)]
                held = gauges(gate, "polyfleet_route_held")
                states = gauges(gate, "polyfleet_route")
            assert {(status, headers["x-polyfleet-route"]) for status, headers, _ in answers} == {(200, "own")}
            assert locked.seen == []
            assert held == {"no_key locked": 1.0}
            assert states["locked held"] == 1.0
            async with gate_of(tmp_path, routes[0]) as gate:
                status, headers, body = await ask(gate.port, CHAT)
        assert status == 503
        assert orjson.loads(body)["error"] == {
            "message": "locked is held back: its key is missing", "type": "server_error", "param": None,
            "code": "no_route",
        }  # fmt: skip
        assert "retry-after" not in headers

    run(test())
    lines = [record.getMessage() for record in caplog.records if "locked" in record.getMessage()]
    assert lines == ["route locked is held back: the environment variable HOST_KEY holds no key"] * 2  # two gates


def test_a_key_that_comes_later_lets_the_route_in(tmp_path):
    file = tmp_path / "key"

    async def test():
        host = MockHost(key="sk-late")
        async with host.serve() as url, gate_of(tmp_path, route("a", url, key_file=str(file))) as gate:
            assert (await ask(gate.port, CHAT))[0] == 503
            file.write_text("sk-late")
            file.chmod(0o600)
            while gate.pool.closed("chat") is not None:
                await asyncio.sleep(0.01)
            assert (await ask(gate.port, CHAT))[0] == 200

    run(test())


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
def test_a_refused_key_holds_its_route_back_and_others_serve(tmp_path, monkeypatch, caplog, status, body):
    monkeypatch.setenv("HOST_KEY", "sk-wrong")
    caplog.set_level(logging.WARNING, "polyfleet.gate")

    async def test():
        bad, good = MockHost(), MockHost()
        bad.script = iter([refusal(status, "no")] * 1000)
        async with bad.serve() as bad_url, good.serve() as good_url:
            routes = [route("bad", bad_url, key_env="HOST_KEY", weight=9.0), route("good", good_url)]
            async with gate_of(tmp_path, *routes) as gate:
                answers = [await ask(gate.port, body) for _ in range(50)]
                held = gauges(gate, "polyfleet_route_held")
        assert {(code, headers["x-polyfleet-route"]) for code, headers, _ in answers} == {(200, "good")}
        assert len(bad.seen) == 1, "no storm: asked once, then held back"
        assert held == {"key_refused bad": 1.0}

    run(test())
    assert [r.getMessage() for r in caplog.records if "bad" in r.getMessage()] == [
        f"route bad is held back: its key was refused ({status})"
    ]


def test_the_only_route_with_a_wrong_key_is_told_at_once(tmp_path):
    async def test():
        host = MockHost(key="sk-right")
        async with host.serve() as url, gate_of(tmp_path, route("a", url), patience_s=10.0) as gate:
            answers = [await asyncio.wait_for(ask(gate.port, CHAT), 3) for _ in range(5)]
        assert [status for status, _, _ in answers] == [503] * 5
        assert "its key was refused" in orjson.loads(answers[0][2])["error"]["message"]
        assert len(host.seen) == 1

    run(test())


def test_another_key_is_tried_at_once_after_one_was_refused(tmp_path):
    file = tmp_path / "key"
    file.write_text("sk-old")
    file.chmod(0o600)

    async def test():
        host = MockHost(key="sk-new")
        async with host.serve() as url, gate_of(tmp_path, route("a", url, key_file=str(file))) as gate:
            assert (await ask(gate.port, CHAT))[0] == 503
            file.write_text("sk-new!"[:-1])
            os.utime(file, ns=(5, 5))
            while gate.pool.closed("chat") is not None:
                await asyncio.sleep(0.01)
            assert (await ask(gate.port, CHAT))[0] == 200

    run(test())


def test_no_key_stands_in_the_log_the_metrics_or_the_access_log(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOST_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)

    async def test():
        host = MockHost(key="sk-other")
        async with host.serve() as url, gate_of(tmp_path, route("a", url, key_env="HOST_KEY")) as gate:
            _, headers, body = await ask(gate.port, CHAT)
            return gate.metrics.render() + body + repr(headers).encode()

    told = asyncio.run(test()) + (tmp_path / "access.log").read_bytes() + caplog.text.encode()
    assert b"sk-very-secret" not in told
