"""A plan's split of buckets between an own replica and a host, as the gate's traffic follows it. From the plan to real
sockets: endpoint_replicas, routes_of, the gate, mock engines. Oracle: the plan's requests a second."""

from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest
from cutting_engine import ask
from mock_answer import Dialect
from mock_host import gate_of, run
from mock_upstream import Mock

from polyfleet.launch.endpoint import endpoint_replicas
from polyfleet.launch.routes import routes_of
from polyfleet.terms import plan as terms
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState
from polyfleet.terms.spec_text import parse_source

SPEC = """
workloads:
  chat: {{model: openai/gpt-oss-120b, traffic: {{rate: 10/s, input: 100, output: 20}}}}
launch:
  endpoints:
    groq: {{url: "{url}", key_env: HOST_KEY}}
"""
SIZES = ((60.0, 8.0), (900.0, 64.0))
PER_S = {"own": (6.0, 1.0), "hosted": (2.0, 3.0)}


def _plan():
    buckets = tuple(terms.PlanBucket(input_tokens=i, output_tokens=o) for i, o in SIZES)
    line = {
        "workload": "chat", "chip_vendor": "nvidia", "region": "*", "traffic_share": 0.5, "usd_per_month": 1.0,
        "usd_per_million_tokens": 1.0, "speed_evidence": "assumed",
    }  # fmt: skip
    own = terms.Line(
        id=0, kind="own", offers=("x:y:z:on_demand",), provider="x", purchase="on_demand", replicas=(1,), **line
    )
    host = terms.Line(
        id=1, kind="hosted", offers=("groq:*:openai/gpt-oss-120b:per_token",), provider="groq", purchase="per_token",
        **line,
    )  # fmt: skip
    routes = [
        terms.Route(window=0, workload="chat", bucket=b, line=number, requests_per_s=PER_S[kind][b])
        for number, kind in enumerate(("own", "hosted"))
        for b in range(2)
    ]
    workload = terms.PlanWorkload(
        name="chat", model="openai/gpt-oss-120b", kind="serve", promise="", buckets=buckets, rate_per_s=((8.0, 4.0),),
        headroom=(1.0,), tokens_per_month=1.0,
    )  # fmt: skip
    return terms.Plan(
        spec_digest="a", catalog_digest="b", status="proven", usd_per_month=1.0, bound_usd_per_month=1.0, gap=0.0,
        windows=(terms.PlanWindow(name="w", hours_per_month=1.0, usd_per_month=1.0),), workloads=(workload,),
        rentals=(), lines=(own, host), routes=tuple(routes), losses=(), capacity=(), limits=(),
        problem=terms.ProblemFile(windows=(), hours=(), needs=(), boxes=(), builds=(), options=(), hosted=(),
                                  limits=terms.ProblemLimits()),
        solver=terms.SolverFacts(solver="none", gap_asked=0.0),
    )  # fmt: skip


@pytest.mark.parametrize("conversations", [True, False], ids=["conversations", "completions"])
def test_the_gates_traffic_follows_the_plans_split_of_each_bucket(tmp_path, monkeypatch, conversations):
    monkeypatch.setenv("HOST_KEY", "sk")

    async def test():
        own_mock, host_mock = (
            Mock(Dialect(tokens=8), gap_ms=0.2, each=True),
            Mock(Dialect(tokens=8), gap_ms=0.2, each=True),
        )
        own_server, own_port = await own_mock.serve()
        host_server, host_port = await host_mock.serve()
        spec = parse_source(SPEC.format(url=f"http://127.0.0.1:{host_port}/v1")).spec
        (hosted,) = endpoint_replicas(spec, _plan(), 0, tmp_path, {"HOST_KEY": "sk"})
        own = ReplicaSpec(
            id="own", workload="chat", served=hosted.served, engine="vllm", weights="m", slots=32,
            context_tokens=131_072, shares=PER_S["own"], buckets=SIZES,
        )  # fmt: skip
        running = [
            Replica(spec=own, state=ReplicaState.READY, url=f"http://127.0.0.1:{own_port}"),
            Replica(spec=hosted, state=ReplicaState.READY, url=hosted.url),
        ]
        found = orjson.loads(routes_of(running).model_dump_json())
        async with gate_of(tmp_path, *found["routes"], buckets=found["buckets"]) as gate:
            counts = await _traffic(gate.port, conversations)
        own_server.close()
        host_server.close()
        assert own_mock.stats.requests + host_mock.stats.requests == 600
        return counts

    async def judged():
        counts = await test()
        for bucket in range(2):
            planned = PER_S["own"][bucket] / (PER_S["own"][bucket] + PER_S["hosted"][bucket])
            taken = counts[bucket, "own"] / (counts[bucket, "own"] + counts[bucket, "chat-groq"])
            assert taken == pytest.approx(planned, abs=0.05), (bucket, counts)

    run(judged())


async def _traffic(port, conversations):
    """Who answered, by bucket: 600 requests, twelve at once, each a conversation of its own."""
    counts: Counter[tuple[int, str]] = Counter()
    numbers = iter(range(600))

    async def client():
        for n in numbers:
            bucket = 0 if n % 3 else 1
            size, made = SIZES[bucket]
            text = f"{n} " + "x" * (int(size) * 4 - 120)
            body = {"model": "chat", "max_tokens": int(made), "temperature": 0}
            body |= {"messages": [{"role": "user", "content": text}]} if conversations else {"prompt": [n] * int(size)}
            path = "/v1/chat/completions" if conversations else "/v1/completions"
            status, headers, _ = await ask(port, body, path=path)
            assert status == 200
            counts[bucket, headers["x-polyfleet-route"]] += 1

    await asyncio.gather(*(client() for _ in range(12)))
    return counts
