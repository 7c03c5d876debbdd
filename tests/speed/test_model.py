"""The speed model as its callers see it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speed_toys import a_build, a_chip, a_model

from polyfleet.catalog.chips import find_chip, load_chips
from polyfleet.catalog.models import find_model
from polyfleet.speed.capacity import percentile_factor
from polyfleet.speed.model import SpeedModel
from polyfleet.terms.build import Build
from polyfleet.terms.demand import Bucket
from polyfleet.terms.evidence import Band, Evidence
from polyfleet.terms.precision import Precision
from polyfleet.terms.slo import Slo

BUCKETS = tuple(Bucket(i, o) for i in (100, 1000, 8000) for o in (50, 500, 2000))


def test_every_chip_of_the_catalog_answers(speed: SpeedModel) -> None:
    model = find_model("meta-llama/Llama-3.1-8B-Instruct")
    for chip in load_chips().values():
        build = a_build(model=model.name, chip=chip.name, tp=4)
        found = speed.performance(model, chip, build, 1024, 256, 8)
        assert found.output_tokens_per_s.p50 > 0, chip.name
        assert found.output_tokens_per_s.p10 < found.output_tokens_per_s.p90, chip.name


def test_more_in_flight_gives_more_throughput_and_slower_tokens(speed: SpeedModel) -> None:
    seen = [speed.performance(a_model(), a_chip(), a_build(), 500, 200, c) for c in (1, 4, 16, 64)]
    throughput = [s.output_tokens_per_s.p50 for s in seen]
    assert throughput == sorted(throughput)
    assert [s.tpot_ms.p50 for s in seen] == sorted(s.tpot_ms.p50 for s in seen)


def test_a_cached_prefix_shortens_the_time_to_first_token(speed: SpeedModel) -> None:
    plain, cached = (speed.performance(a_model(), a_chip(), a_build(), 8000, 100, 4, c) for c in (0, 7000))
    assert cached.ttft_ms.p50 < plain.ttft_ms.p50


def test_offline_is_at_least_as_fast_as_any_concurrency(speed: SpeedModel) -> None:
    best = speed.offline(a_model(), a_chip(), a_build(), 500, 200).output_tokens_per_s.p50
    for c in (1, 32, 512):
        assert speed.performance(a_model(), a_chip(), a_build(), 500, 200, c).output_tokens_per_s.p50 <= best * 1.001


def test_weights_that_do_not_fit_say_so(speed: SpeedModel) -> None:
    small = a_chip(memory_gib=0.3)
    assert "memory" in speed.fits(a_model(), small, a_build())
    assert speed.fits(a_model(), a_chip(), a_build()) == ""
    found = speed.capacity(a_model(), small, a_build(), BUCKETS, Slo(1000, 95, 50, 95))
    assert all(s.requests_per_s == Band(0, 0, 0) and "memory" in s.why_not for s in found)


def test_a_promise_that_no_load_keeps_says_what_fails(speed: SpeedModel) -> None:
    (found,) = speed.capacity(a_model(), a_chip(), a_build(), [Bucket(1000, 100)], Slo(tpot_ms=0.001))
    assert found.requests_per_s.p50 == 0
    assert "TPOT" in found.why_not


@settings(max_examples=60, deadline=None)
@given(
    ttft=st.one_of(st.none(), st.floats(1, 1e5)),
    tpot=st.one_of(st.none(), st.floats(0.1, 1e3)),
    factor=st.floats(1.0, 10.0),
)
def test_a_looser_promise_never_lowers_capacity(
    speed: SpeedModel, ttft: float | None, tpot: float | None, factor: float
) -> None:
    tight = Slo(ttft, 95, tpot, 99)
    pairs = [speed.capacity(a_model(), a_chip(), a_build(), BUCKETS, s) for s in (tight, tight.relaxed(factor))]
    for before, after in zip(*pairs, strict=True):
        for name in ("p10", "p50", "p90"):
            assert getattr(after.requests_per_s, name) >= getattr(before.requests_per_s, name)


def test_the_load_at_capacity_keeps_the_promise(speed: SpeedModel) -> None:
    slo = Slo(500, 95, 20, 95)
    for found in speed.capacity(a_model(), a_chip(), a_build(), BUCKETS, slo):
        if found.requests_per_s.p50 > 0:
            assert found.ttft_ms <= 500
            assert found.tpot_ms <= 20


def test_a_stricter_percentile_never_raises_capacity(speed: SpeedModel) -> None:
    rates = [
        [s.requests_per_s.p50 for s in speed.capacity(a_model(), a_chip(), a_build(), BUCKETS, Slo(400, p, 15, p))]
        for p in (50, 95, 99)
    ]
    assert all(a >= b >= c for a, b, c in zip(*rates, strict=True))


def test_percentiles_are_those_of_a_log_normal() -> None:
    assert percentile_factor(50, 0.4) == pytest.approx(1)
    assert percentile_factor(97.725, 0.4) == pytest.approx(2.718281828**0.8, rel=1e-3)


def test_capacity_of_64_buckets_takes_milliseconds(speed: SpeedModel) -> None:
    buckets = [Bucket(i * 100, o * 50) for i in range(1, 9) for o in range(1, 9)]
    slo = Slo(1000, 95, 50, 95)
    speed.capacity(a_model(), a_chip(), a_build(), buckets, slo)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        speed.capacity(a_model(), a_chip(), a_build(), buckets, slo)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.02  # ten times the usual figure: a guard against loops in Python, not a benchmark


def test_evidence_tells_how_near_the_rows_are(speed: SpeedModel) -> None:
    model = find_model("openai/gpt-oss-120b")

    def evidence(chip: str, engine: str) -> Evidence:
        where = find_chip(chip)
        build = Build(model.name, where.name, 4, engine, Precision.MXFP4, Precision.BF16)
        return speed.performance(model, where, build, 1000, 100, 4).evidence

    assert evidence("B200", "tensorrt-llm") is Evidence.MEASURED
    assert evidence("B200", "vllm") is Evidence.CALIBRATED
    assert evidence("Trainium3", "vllm-neuron") is Evidence.PHYSICS


@pytest.mark.parametrize(
    ("model", "build", "lengths", "tokens_per_s"),
    [
        # NVIDIA, TensorRT-LLM performance overview 1.2, gpt-oss-20b on one H200
        (
            "openai/gpt-oss-20b",
            Build("", "H200-SXM", 1, "tensorrt-llm", Precision.MXFP4, Precision.FP8),
            (1000, 1000),
            13_860,
        ),
        # the same page of 0.14, Llama-3.1-70B FP8 on four H100
        (
            "meta-llama/Llama-3.1-70B",
            Build("", "H100-SXM", 4, "tensorrt-llm", Precision.FP8, Precision.FP8),
            (500, 2000),
            9_205,
        ),
    ],
)
def test_published_points_lie_within_half_of_the_prediction(
    speed: SpeedModel, model: str, build: Build, lengths: tuple[int, int], tokens_per_s: float
) -> None:
    found = speed.offline(find_model(model), find_chip(build.chip), build, *lengths)
    assert tokens_per_s / 1.5 < found.output_tokens_per_s.p50 < tokens_per_s * 1.5
