"""One JSON line a request."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.gate.seen.access_log import AccessLine, AccessLog
from polyfleet.gate.seen.metrics import Metrics


def line(n: int = 0, **more) -> AccessLine:
    return AccessLine(f"req-{n}", "POST", "/v1/chat/completions", 200, 0.5, **more)


def test_a_line_tells_what_happened(tmp_path):
    log = AccessLog(tmp_path / "access.log", Metrics())
    log.write(line(1, model="chat", key="team", routes=("a", "b"), ttft_s=0.1, output_tokens=64, resumed=1))
    log.flush()
    row = json.loads((tmp_path / "access.log").read_text())
    assert datetime.now(UTC) - datetime.fromisoformat(row.pop("at")) < timedelta(minutes=1)
    assert row == {
        "request_id": "req-1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "seconds": 0.5,
        "model": "chat",
        "key": "team",
        "routes": ["a", "b"],
        "ttft_s": 0.1,
        "input_tokens": 0,
        "output_tokens": 64,
        "usd": 0.0,
        "retries": 0,
        "resumed": 1,
        "error": "",
        "client_gone": False,
    }


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_client_sends_stays_one_line(path, model):
    file = Path(__file__).with_name("access_log_test.out")
    try:
        log = AccessLog(file, Metrics())
        log.write(AccessLine("r", "GET", path, 404, 0.0, model=model))
        log.write(line(2))
        log.flush()
        rows = [json.loads(text) for text in file.read_text().split("\n")[:-1]]
        assert [row["request_id"] for row in rows] == ["r", "req-2"]
        assert rows[0]["model"] == model
    finally:
        file.unlink(missing_ok=True)


def test_a_key_in_the_query_is_not_written(tmp_path):
    log = AccessLog(tmp_path / "access.log", Metrics())
    log.write(AccessLine("r", "GET", "/v1/models?api_key=pf-secret", 200, 0.0))
    log.flush()
    assert "secret" not in (tmp_path / "access.log").read_text()


def test_lines_that_cannot_be_written_are_counted_and_nothing_fails(tmp_path):
    metrics = Metrics()
    log = AccessLog(tmp_path / "no" / "access.log", metrics)
    for n in range(20_005):
        log.write(line(n))
    log.flush()
    assert metrics.counter("polyfleet_log_lines_lost").value == 20_005


def test_a_log_that_is_moved_away_goes_on_in_a_new_file(tmp_path):
    path = tmp_path / "access.log"
    log = AccessLog(path, Metrics())
    log.write(line(1))
    log.flush()
    path.rename(tmp_path / "access.log.1")
    log.write(line(2))
    log.flush()
    assert json.loads(path.read_text())["request_id"] == "req-2"


def test_no_path_is_no_log_and_the_end_writes_what_waits(tmp_path):
    async def main() -> None:
        log = AccessLog(tmp_path / "access.log", Metrics())
        task = asyncio.create_task(log.run())
        await asyncio.sleep(0)
        log.write(line(7))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    silent = AccessLog(None, Metrics())
    silent.write(line(1))
    silent.flush()
    asyncio.run(main())
    assert json.loads((tmp_path / "access.log").read_text())["request_id"] == "req-7"


def test_standard_output_takes_it_too(capfdbinary):
    log = AccessLog(Path("-"), Metrics())
    log.write(line(3))
    log.flush()
    assert json.loads(capfdbinary.readouterr().out)["request_id"] == "req-3"
