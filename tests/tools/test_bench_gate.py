"""What the bench of the gate measures with is right: whole answers count, others do not; figures are what they say."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from bench_envoy import write_envoy_config
from bench_gate import Figures, request_body, stream_body, table, wrong_stream
from load_client import Load, at_percentile, load, shot
from mock_answer import Dialect
from mock_upstream import Mock
from soak_gate import Setting, growth_mib


def fired(mock: Mock, body: bytes, must_have: bytes, count: int) -> Load:
    async def run() -> Load:
        server, port = await mock.serve()
        one = shot(f"http://127.0.0.1:{port}/v1/chat/completions", body, must_have)
        seen = await load([one] * 4, 20.0, count=count)
        server.close()
        return seen

    return asyncio.run(run())


@pytest.mark.parametrize("each", [False, True])
def test_whole_streams_are_counted(each: bool) -> None:
    mock = Mock(Dialect(tokens=8), each=each)
    seen = fired(mock, stream_body(), b"[DONE]", 20)
    assert (len(seen.latencies_ms), seen.bad) == (20, 0)
    assert mock.stats.requests >= 20
    assert 0 < seen.latency_ms(50) <= seen.latency_ms(99) < 20_000


def test_an_answer_without_what_it_must_have_is_not_counted() -> None:
    mock = Mock(Dialect())
    seen = asyncio.run(_until_bad(mock))
    assert seen.latencies_ms == []
    assert seen.bad > 0
    assert "HTTP/1.1 200" in seen.first_bad


async def _until_bad(mock: Mock) -> Load:
    server, port = await mock.serve()
    one = shot(f"http://127.0.0.1:{port}/v1/chat/completions", request_body(), b"never said")
    seen = await load([one], 0.2)
    server.close()
    return seen


def test_requests_are_one_kilobyte_and_streams_have_64_events() -> None:
    assert len(request_body()) == 1024
    whole = b"".join(b"data: %b\n\n" % data for data in (*said(64), USAGE, b"[DONE]"))
    assert wrong_stream(whole) == ""
    assert "no [DONE]" in wrong_stream(whole[:-20])
    assert "pieces" in wrong_stream(b"".join(b"data: %b\n\n" % data for data in (*said(10), USAGE, b"[DONE]")))
    assert "usage" in wrong_stream(b"".join(b"data: %b\n\n" % data for data in (*said(64), b"[DONE]")))


USAGE = b'{"choices": [], "usage": {"completion_tokens": 64}}'


def said(count: int) -> list[bytes]:
    return [json.dumps({"choices": [{"delta": {"content": "a"}}]}).encode()] * count


def test_percentiles_by_hand() -> None:
    assert at_percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.0
    assert at_percentile([float(value) for value in range(1, 101)], 99) == 99.0
    assert at_percentile([5.0], 99) == 5.0


def test_the_table_shows_medians_and_what_is_added() -> None:
    direct = Figures("direct", "", [9.0], [10.0], p50_ms=[0.5], p99_ms=[1.0])
    one = Figures("one", "1.0", [300.0, 100.0, 200.0], [40.0], p50_ms=[0.75], p99_ms=[3.0], bad=2)
    rows = table([direct, one]).splitlines()
    assert rows[-1] == "| one | 1.0 | 200 | - | 40 | - | 0.25 | 2.00 | 2 |"


def test_growth_is_of_the_last_quarter_over_the_second() -> None:
    assert growth_mib([10.0, 50.0, 60.0, 60.0, 60.0, 60.0, 65.0, 65.0]) == 5.0
    assert growth_mib([50.0] * 40) == 0.0


def test_capacity_is_slots_over_the_time_of_one_answer() -> None:
    setting = Setting(3, 8, 10.0, 64, 5.0, 60.0, 0.0, 2.0)
    assert setting.capacity_per_s == pytest.approx(24 / 0.67)


def test_full_envoy_asks_for_keys_and_bare_envoy_does_not(tmp_path: Path) -> None:
    bare = json.loads(write_envoy_config(tmp_path / "bare.json", 1, 2, None).read_text())
    full = json.loads(write_envoy_config(tmp_path / "full.json", 1, 2, "secret").read_text())
    assert "secret" not in json.dumps(bare)
    assert "api_key_auth" in json.dumps(full)
    assert "retry_budget" in json.dumps(full)
