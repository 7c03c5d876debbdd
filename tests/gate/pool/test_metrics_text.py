"""What Prometheus reads, judged by prometheus-client's own parser."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pool_toys import ASK, Clock, routes
from prometheus_client.parser import text_string_to_metric_families

from polyfleet.gate.pool.pool import Outcome, Pool
from polyfleet.gate.seen.families import BY_NAME
from polyfleet.gate.seen.metrics import Metrics


def read(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and the values of their labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    samples = [(BY_NAME[family.name], one) for family in families for one in family.samples]
    return {
        (one.name, tuple(one.labels[label] for label in (*family.labels, "le") if label in one.labels)): one.value
        for family, one in samples
    }


def test_an_attempt_is_seen_as_it_went():
    metrics, clock = Metrics(), Clock()
    pool = Pool(routes("a"), metrics=metrics, clock=clock)
    flight = pool.begin("a", ASK)
    clock.now += 0.3
    flight.first_byte()
    for _ in range(4):
        clock.now += 0.02
        flight.tokens(1)
    running = read(metrics)
    assert running["polyfleet_in_flight", ("a",)] == 1
    assert running["polyfleet_work_tokens", ("a",)] == 121
    flight.done(Outcome.OK, 5)
    metrics.route("a").input_tokens.value += 100
    metrics.route("a").output_tokens.value += 5
    told = read(metrics)
    assert told["polyfleet_ttft_seconds_bucket", ("a", "0.25")] == 0
    assert told["polyfleet_ttft_seconds_bucket", ("a", "0.5")] == 1
    assert abs(told["polyfleet_ttft_seconds_sum", ("a",)] - 0.3) < 1e-9
    assert told["polyfleet_inter_token_seconds_count", ("a",)] == 4
    assert told["polyfleet_inter_token_seconds_bucket", ("a", "0.01")] == 0
    assert told["polyfleet_inter_token_seconds_bucket", ("a", "0.025")] == 4
    assert told["polyfleet_attempts_total", ("a", "ok")] == 1
    assert told["polyfleet_tokens_total", ("a", "output")] == 5
    assert told["polyfleet_tokens_total", ("a", "input")] == 100
    assert told["polyfleet_in_flight", ("a",)] == 0
    assert told["polyfleet_route", ("a", "open")] == 1


def test_everything_else_that_is_told_is_seen():
    metrics = Metrics()
    metrics.answered("chat", 200, 0.7)
    metrics.retried("chat", "connect")
    metrics.resumed("chat", "a", "b")
    metrics.poisoned("chat")
    metrics.refused("chat", "overloaded")
    metrics.spent("a", "local", 0.25)
    metrics.spent("a", "local", 0.5)
    metrics.ejected("a", "stalled")
    told = read(metrics)
    assert told["polyfleet_requests_total", ("chat", "200")] == 1
    assert told["polyfleet_request_seconds_bucket", ("chat", "1.0")] == 1
    assert told["polyfleet_retries_total", ("chat", "connect")] == 1
    assert told["polyfleet_resumes_total", ("chat", "a", "b")] == 1
    assert told["polyfleet_poisoned_total", ("chat",)] == 1
    assert told["polyfleet_refusals_total", ("chat", "overloaded")] == 1
    assert told["polyfleet_spend_usd_total", ("a", "local")] == 0.75
    assert told["polyfleet_ejections_total", ("a", "stalled")] == 1


@given(st.lists(st.floats(0.0, 100.0), max_size=50))
def test_a_histogram_counts_as_counting_by_hand_does(values):
    metrics = Metrics()
    for value in values:
        metrics.histogram("polyfleet_queue_seconds", "chat").observe(value)
    told = read(metrics)
    for (name, labels), count in told.items():
        if name == "polyfleet_queue_seconds_bucket":
            assert count == sum(value <= float(labels[-1]) for value in values)


@given(st.text(max_size=30))
def test_any_name_of_a_model_survives_the_text(name):
    metrics = Metrics()
    metrics.retried(name, "connect")
    told = [labels for (metric, labels) in read(metrics) if metric == "polyfleet_retries_total"]
    assert told == [(name, "connect")]


def test_no_client_can_fill_the_memory_with_labels():
    metrics = Metrics()
    for n in range(6000):
        metrics.refused(f"model {n}", "overloaded")
    told = [value for (name, _), value in read(metrics).items() if name == "polyfleet_refusals_total"]
    assert len(told) == 5001
    assert sum(told) == 6000


WORKER = """
import sys
from pathlib import Path
from polyfleet.gate.seen.metrics import Metrics
from polyfleet.gate.pool.pool import Pool, Ask
from polyfleet.terms.route import Route, Routes
metrics = Metrics(Path(sys.argv[1]), sys.argv[2])
pool = Pool(Routes(routes=(Route(id="a", url="http://a", served=("chat",)),)), metrics=metrics)
pool.begin("a", Ask(1, 1)).first_byte()
for _ in range(int(sys.argv[3])):
    metrics.answered("chat", 200, 0.2)
metrics.write()
"""


def test_any_worker_tells_the_sum_of_all_also_of_those_that_ended(tmp_path):
    for worker, count in (("1", "5"), ("2", "7"), ("2", "1")):
        subprocess.run([sys.executable, "-c", WORKER, str(tmp_path), worker, count], check=True)
    mine = Metrics(tmp_path, "0")
    mine.answered("chat", 200, 0.2)
    told = read(mine)
    assert told["polyfleet_requests_total", ("chat", "200")] == 14
    assert told["polyfleet_request_seconds_count", ("chat",)] == 14
    assert told["polyfleet_in_flight", ("a",)] == 3
    for path in tmp_path.glob("metrics-*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "at": time.time() - 60}))
    later = read(mine)
    assert later["polyfleet_requests_total", ("chat", "200")] == 14
    assert ("polyfleet_in_flight", ("a",)) not in later
    Metrics.clear(tmp_path)
    assert read(mine)["polyfleet_requests_total", ("chat", "200")] == 1


def test_a_workers_own_file_is_not_counted_twice_and_a_broken_one_not_at_all(tmp_path):
    metrics = Metrics(tmp_path, "0")
    metrics.answered("chat", 200, 0.2)
    metrics.write()
    for n, text in enumerate(("", "{", "[]", '{"at": 1}', '{"at": "x", "series": []}', '{"at": 1, "series": [[1]]}')):
        (tmp_path / f"metrics-broken-{n}.json").write_text(text)
    assert read(metrics)["polyfleet_requests_total", ("chat", "200")] == 1


def test_the_file_is_written_until_the_end(tmp_path: Path):
    async def main() -> None:
        metrics = Metrics(tmp_path, "0")
        task = asyncio.create_task(metrics.run(every_s=1000.0))
        await asyncio.sleep(0)
        metrics.answered("chat", 200, 0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    (path,) = tmp_path.glob("metrics-0-*.json")
    assert any(row[0] == "polyfleet_requests" for row in json.loads(path.read_text())["series"])


def test_a_folder_that_is_gone_stops_nothing(tmp_path):
    metrics = Metrics(tmp_path / "gone", "0")
    metrics.answered("chat", 200, 0.2)
    metrics.write()
    assert read(metrics)["polyfleet_requests_total", ("chat", "200")] == 1
