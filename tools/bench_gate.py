"""The gate beside its peers: the same mock engine, the same load, one core for each gateway.

    python tools/bench_gate.py build/bench                  # every peer that is installed there
    python tools/bench_gate.py build/bench --only polyfleet --seconds 3

The gateway runs on one core, the mock engine and the load generator on the other. Streams: 64 events, 16 connections;
requests: bodies of 1 KB answered at once, 16 connections; latency: one connection, what the gateway adds to the mock
engine asked directly. Each figure is the median of `--repeats` runs, which take turns with the other peers'.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from bench_peers import PEERS, Peer, Started
from load_client import Load, at_percentile, load, shot

MOCK = Path(__file__).resolve().parent / "mock_upstream.py"
CONNECTIONS, EVENTS = 16, 64
TRIED_S = 60.0


@dataclass(slots=True)
class Figures:
    """Runs of one gateway: per second, and milliseconds."""

    name: str
    version: str
    streams_per_s: list[float] = field(default_factory=list)
    requests_per_s: list[float] = field(default_factory=list)
    stream_cpu_us: list[float] = field(default_factory=list)
    request_cpu_us: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    bad: int = 0
    note: str = ""


def stream_body() -> bytes:
    """A streamed chat of 64 events, usage in the last."""
    messages = [{"role": "user", "content": "Tell me how a gateway keeps a stream going."}]
    body = {"model": "mock", "messages": messages, "stream": True, "max_tokens": EVENTS, "temperature": 0}
    return json.dumps({**body, "stream_options": {"include_usage": True}}).encode()


def request_body() -> bytes:
    """A chat of 1 KB that is answered at once."""
    body = {"model": "mock", "messages": [{"role": "user", "content": ""}], "max_tokens": 16, "temperature": 0}
    missing = 1024 - len(json.dumps(body))
    body["messages"] = [{"role": "user", "content": "x" * missing}]
    return json.dumps(body).encode()


@contextlib.contextmanager
def running(started: Started, core: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process group on one core, until the block ends."""
    environment = {**os.environ, **started.environment, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as lines:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *started.command],
            stdout=lines,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until_answers(port: int, headers: Mapping[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    """Asks until an answer comes. Raises RuntimeError with its last lines where the gateway dies or never gives one."""
    until, problem = time.monotonic() + TRIED_S, ""
    while time.monotonic() < until and process.poll() is None:
        try:
            json.loads(asked_once(port, headers, request_body()))["choices"][0]["message"]
            return
        except (OSError, ValueError, LookupError) as error:
            problem = repr(error)
        time.sleep(0.1)
    raise RuntimeError(f"{problem}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))


def asked_once(port: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """One answer, read in full."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return bytes(answer.read())


def no_stream(port: int, headers: Mapping[str, str]) -> str:
    """What is wrong with this gateway's streams ('' where nothing is)."""
    try:
        return wrong_stream(asked_once(port, headers, stream_body()))
    except (OSError, ValueError, LookupError) as error:
        return f"streams: {error!r}"


def wrong_stream(read: bytes) -> str:
    """What is wrong with a streamed answer ('' where nothing is)."""
    events = [line[6:] for line in read.splitlines() if line.startswith(b"data: ")]
    if not events or events[-1] != b"[DONE]":
        return f"no [DONE]: {read[:200]!r}"
    told = [json.loads(event) for event in events[:-1]]
    pieces = [choice["delta"].get("content") for event in told for choice in event["choices"]]
    usage = [event["usage"] for event in told if event.get("usage")]
    if sum(bool(piece) for piece in pieces) < EVENTS * 3 // 4 or not usage:
        return f"{len(pieces)} pieces, usage {usage}"
    return ""


def cpu_s(pid: int) -> float:
    """Processor time that a process and all below it have used."""
    total, todo = 0.0, [pid]
    while todo:
        folder = Path(f"/proc/{todo.pop()}")
        with contextlib.suppress(OSError):
            columns = (folder / "stat").read_text().rpartition(")")[2].split()
            total += (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")
            for thread in (folder / "task").iterdir():
                todo += [int(child) for child in (thread / "children").read_text().split()]
    return total


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def fired(port: int, headers: Mapping[str, str], body: bytes, seconds: float, connections: int) -> Load:
    """One run of the load generator."""
    must = b"[DONE]" if b'"stream": true' in body else b'"usage"'
    one = shot(f"http://127.0.0.1:{port}/v1/chat/completions", body, must, headers)
    return uvloop.run(load([one] * connections, seconds))


def measure(figures: Figures, port: int, headers: Mapping[str, str], seconds: float, pid: int) -> None:
    """One run of each kind; none of streams where the gateway cannot stream."""
    kinds = [(request_body(), figures.requests_per_s, figures.request_cpu_us)]
    if problem := no_stream(port, headers):
        figures.note = problem
    else:
        kinds.append((stream_body(), figures.streams_per_s, figures.stream_cpu_us))
    for body, rates, costs in kinds:
        fired(port, headers, body, seconds / 5, CONNECTIONS)  # warm
        before = cpu_s(pid)
        seen = fired(port, headers, body, seconds, CONNECTIONS)
        rates.append(seen.per_s)
        if seen.latencies_ms:
            costs.append((cpu_s(pid) - before) * 1e6 / len(seen.latencies_ms))
        _keep_bad(figures, seen)
    seen = fired(port, headers, request_body(), seconds, 1)
    _keep_bad(figures, seen)
    if seen.latencies_ms:
        figures.p50_ms.append(at_percentile(seen.latencies_ms, 50))
        figures.p99_ms.append(at_percentile(seen.latencies_ms, 99))


def _keep_bad(figures: Figures, seen: Load) -> None:
    figures.bad += seen.bad
    figures.note = figures.note or seen.first_bad[:200]


def bench(
    peers: list[Peer], folder: Path, seconds: float, repeats: int, scratch: Path, *, each: bool = False
) -> list[Figures]:
    """All figures; the first are of the mock engine asked directly."""
    own, other = 0, (os.cpu_count() or 1) - 1
    os.sched_setaffinity(0, {own})
    engine, direct = free_port(), Figures("mock engine, no gateway", "")
    all_figures = {peer.name: Figures(peer.name, peer.version(folder) or "") for peer in peers}
    mock = Started([sys.executable, str(MOCK), "--port", str(engine), "--events", str(EVENTS), *(["--each"] * each)])
    with running(mock, own, scratch / "mock.log") as process:
        until_answers(engine, {}, process, scratch / "mock.log")
        for repeat in range(repeats):
            measure(direct, engine, {}, seconds, process.pid)
            for peer in peers:
                figures = all_figures[peer.name]
                print(f"repeat {repeat + 1} of {repeats}: {peer.name}", file=sys.stderr, flush=True)
                try:
                    one_peer(peer, figures, folder, engine, other, seconds, scratch)
                except RuntimeError as error:
                    figures.note = str(error)[:1500]
    return [direct, *all_figures.values()]


def one_peer(peer: Peer, figures: Figures, folder: Path, engine: int, core: int, seconds: float, scratch: Path) -> None:
    """Starts a peer, measures it and stops it."""
    port, log = free_port(), scratch / f"{peer.name}.log"
    place = Path(tempfile.mkdtemp(dir=scratch))
    started = peer.start(folder, place, engine, port)
    with running(started, core, log) as process:
        until_answers(port, started.headers, process, log)
        measure(figures, port, started.headers, seconds, process.pid)


def table(all_figures: list[Figures]) -> str:
    """Markdown, medians; latency added to that of the engine asked directly."""
    direct = all_figures[0]
    lines = [
        "| gateway | version | streams/s | CPU µs each | 1 KB requests/s | CPU µs each | added P50 ms | P99 | bad |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in all_figures:
        p50, p99 = _median(one.p50_ms), _median(one.p99_ms)
        if one is not direct:
            p50, p99 = _less(p50, _median(direct.p50_ms)), _less(p99, _median(direct.p99_ms))
        rates = (one.streams_per_s, one.stream_cpu_us, one.requests_per_s, one.request_cpu_us)
        cells = [_told(_median(values), ",.0f") for values in rates]
        more = (_told(p50, ".2f"), _told(p99, ".2f"), str(one.bad))
        lines.append(f"| {one.name} | {one.version} | " + " | ".join((*cells, *more)) + " |")
    return "\n".join(lines)


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _told(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the peers are installed")
    parser.add_argument("--only", action="append", help="names of peers; may be given several times")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="the engine sends every event by itself")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    options = parser.parse_args()
    peers = [peer for peer in PEERS if not options.only or peer.name in options.only]
    for peer in [peer for peer in peers if peer.version(options.folder) is None]:
        print(f"{peer.name} is not installed in {options.folder}: left out", file=sys.stderr)
        peers.remove(peer)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-gate-") as scratch:
        all_figures = bench(peers, options.folder, options.seconds, options.repeats, Path(scratch), each=options.each)
    print(f"{_machine()}; load before {load_before:.2f}; median of {options.repeats} runs of {options.seconds:g} s\n")
    print(table(all_figures))
    for one in all_figures:
        if one.note:
            print(f"\n{one.name}: {one.note}")
    if options.json:
        options.json.write_text(json.dumps([_as_dict(one) for one in all_figures], indent=1))


def _as_dict(one: Figures) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def _machine() -> str:
    names = [
        line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "name" in line
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
