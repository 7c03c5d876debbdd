"""A step and a prefill, against the roofline and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from speed_toys import a_build, a_chip, a_model

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.models import find_model
from polyfleet.speed.constants import packaged_constants, rates_of, table_of
from polyfleet.speed.memory import free_bytes, held_bytes, sequences_held
from polyfleet.speed.point import keys_of
from polyfleet.speed.rates import Rates
from polyfleet.speed.serve import Work, at_concurrency, burst, saturated, slots_of, static_batch
from polyfleet.speed.shape import shape_of
from polyfleet.speed.step import (
    decode_step_s,
    exchange_s,
    mixed_launch_s,
    prefill_s,
    share_touched,
    soft_max,
    touched_bytes,
)
from polyfleet.terms.precision import Precision

IDEAL = Rates(
    memory_eff=1.0, expert_memory_eff=1.0, attention_eff=1.0, compute_eff=1.0, expert_compute_eff=1.0,
    prefill_eff=1.0, attention_compute_eff=1.0, link_eff=1.0, step_s=0.0, layer_s=0.0, moe_layer_s=0.0,
    mixed_layer_s=0.0, sequence_s=0.0, link_latency_s=0.0, first_token_s=0.0, sharpness=50.0, expert_imbalance=0.0,
    expert_skew=1e-6, chunk_share=1.0, prefill_share=0.0, step_share=0.0, burst_share=0.0,
)  # fmt: skip


def test_soft_max_is_above_both_and_near_the_larger_one() -> None:
    assert soft_max(3.0, 4.0, 2.0) == pytest.approx(5.0)
    assert soft_max(1.0, 1000.0, 3.0) == pytest.approx(1000.0, rel=1e-5)


def test_an_ideal_step_of_one_sequence_reads_the_weights_once() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    expected = shape.dense_bytes / 2000e9 + 1000 * shape.kv_full_bytes / 2000e9
    assert float(decode_step_s(shape, IDEAL, 1, 1000)) == pytest.approx(expected, rel=1e-5)


def test_an_ideal_step_of_a_huge_batch_is_bound_by_compute() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    assert float(decode_step_s(shape, IDEAL, 10_000, 0)) == pytest.approx(10_000 * shape.dense_peak_s, rel=1e-5)


@pytest.mark.parametrize("tokens", [1, 4, 64, 5000])
def test_experts_read_are_those_that_a_batch_touches_under_an_even_router(tokens: int) -> None:
    model = a_model(experts=8)
    shape = shape_of(model, a_chip(), a_build())
    touched = model.groups[0].ffn.experts_touched(tokens)
    assert float(touched_bytes(shape, IDEAL, tokens)) == pytest.approx(
        shape.dense_bytes + 10 * touched * 2_000_000 * 2, rel=1e-4
    )


@pytest.mark.parametrize("tokens", [1, 3, 20, 200])
def test_uneven_experts_are_touched_as_drawn_popularities_say(tokens: int) -> None:
    shape = shape_of(a_model(experts=64), a_chip(), a_build())
    drawn = np.random.default_rng(7).gamma(1 / 0.8, 0.8, 400_000)
    # 2 of 64: the first token reads its own, each other one misses an expert of popularity x with (1 - 2/64)^x
    missed = (1 - 2 / 64) * ((1 - 2 / 64) ** (drawn * (tokens - 1))).mean()
    uneven = replace(IDEAL, expert_skew=0.8)
    assert float(share_touched(shape, uneven, tokens)) == pytest.approx(1 - missed, abs=2e-3)
    assert float(share_touched(shape, uneven, tokens)) <= float(share_touched(shape, IDEAL, tokens)) + 1e-9


def test_an_all_reduce_moves_the_ring_share_of_the_message() -> None:
    shape = shape_of(a_model(), a_chip(), a_build(tp=4))
    # 2 a layer, 2 x 3/4 of 2,048 bytes a token, over 400 GB/s
    assert float(exchange_s(shape, IDEAL, 100)) == pytest.approx(20 * 1.5 * 100 * 2048 / 400e9)
    assert float(exchange_s(shape_of(a_model(), a_chip(), a_build()), IDEAL, 100)) == 0


def test_a_short_prefill_takes_the_time_of_its_launches() -> None:
    shape = shape_of(a_model(experts=8), a_chip(), a_build())
    slow = replace(IDEAL, layer_s=1e-5, moe_layer_s=2e-5, mixed_layer_s=1e-3)
    # 10 layers, all with experts, whose routing triples the launches
    assert float(mixed_launch_s(shape, slow)) == pytest.approx(10 * 3 * 1e-3)
    assert float(prefill_s(shape, slow, 16, 16)) == pytest.approx(30e-3)
    assert float(prefill_s(shape, slow, 200_000, 200_000)) > 2 * 30e-3


def test_a_request_waits_for_the_launches_of_the_prefill_under_way() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    waiting = replace(IDEAL, layer_s=1e-5, mixed_layer_s=1e-3, prefill_share=2.0)
    # its own 10 ms, and two of those under way for 97 others of 97 + 3
    assert float(at_concurrency(shape, waiting, Work(16.0, 1000.0), 98).ttft_s) == pytest.approx(10e-3 * (1 + 2 * 0.97))


def test_a_step_that_carries_a_prefill_takes_no_less_than_its_launches() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    work = Work(16.0, 1.0)
    slow = replace(IDEAL, layer_s=1e-5, mixed_layer_s=1e-3)
    # 100 prefills ride on every step: all steps are mixed ones, and 10 ms is more than their work
    assert float(at_concurrency(shape, slow, work, 101).tpot_s) == pytest.approx(10e-3, rel=1e-3)
    assert float(at_concurrency(shape, slow, work, 1).tpot_s) < 1e-3


def test_prefill_grows_faster_than_its_tokens_by_the_quadratic_part() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    short, long = (float(prefill_s(shape, IDEAL, n, n)) for n in (4_000, 32_000))
    assert long / short > 8
    linear = 32_000 * shape.dense_peak_s
    quadratic = 32_000 * 16_000 * shape.pair_full_s
    assert long == pytest.approx(linear + quadratic, rel=1e-3)


def test_no_chip_steps_faster_than_its_bandwidth_reads_the_weights() -> None:
    model = find_model("meta-llama/Llama-3.1-8B-Instruct")
    table = table_of(packaged_constants())
    for chip in load_chips().values():
        build = a_build(model=model.name, chip=chip.name, engine="vllm")
        shape, keys = shape_of(model, chip, build), keys_of(model, chip, build)
        step = float(decode_step_s(shape, rates_of(table, [keys]), 1, 100)[0])
        assert step >= shape.dense_bytes / (chip.bandwidth_gb_s * 1e9), chip.name


def test_memory_holds_what_is_left_beside_the_weights() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    free = 80 * 2**30 * 0.9 - 1.5e9 - shape.weight_bytes
    assert float(free_bytes(shape)) == pytest.approx(free)
    assert float(held_bytes(shape, 1000)) == 10 * 1024 * 2 * 1000
    assert float(sequences_held(shape, 1000)) == pytest.approx(free / (10 * 1024 * 2 * 1000))


def test_a_closed_loop_obeys_littles_law() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    seen = at_concurrency(shape, IDEAL, Work(500, 200), 16)
    requests_per_s = seen.tokens_per_s / 200
    assert float(requests_per_s * (seen.ttft_s + 199 * seen.tpot_s)) == pytest.approx(16)


def test_requests_beyond_the_slots_wait_and_add_no_throughput() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    work = Work(1000, 100, slots=8)
    full, over = at_concurrency(shape, IDEAL, work, 8), at_concurrency(shape, IDEAL, work, 80)
    assert float(over.tokens_per_s) == pytest.approx(float(full.tokens_per_s))
    assert float(over.ttft_s) > 5 * float(full.ttft_s)


def test_a_replica_without_room_still_has_one_slot() -> None:
    assert float(slots_of(shape_of(a_model(), a_chip(memory_gib=0.1), a_build()), Work(1000, 100))) == 1


def test_a_static_batch_prefills_all_then_steps_together() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    seen = static_batch(shape, IDEAL, Work(1000, 100), 4)
    assert float(seen.ttft_s) == pytest.approx(float(prefill_s(shape, IDEAL, 4000, 1000)))
    assert float(seen.tpot_s) == pytest.approx(float(decode_step_s(shape, IDEAL, 4, 1050)))
    assert float(seen.tokens_per_s) == pytest.approx(400 / float(seen.ttft_s + 99 * seen.tpot_s))


def test_a_burst_is_slower_than_a_steady_state_of_the_same_size() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    work = Work(2000, 50)
    assert float(burst(shape, IDEAL, work, 16).tokens_per_s) <= float(saturated(shape, IDEAL, work, 16).tokens_per_s)


def test_a_compiled_batch_sets_the_time_of_every_step() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())
    rates = replace(IDEAL, sequence_s=1e-4)
    live, compiled = (at_concurrency(shape, rates, Work(100, 100, fixed_batch=b), 1).tpot_s for b in (0, 32))
    assert float(compiled - live) == pytest.approx(31e-4, rel=0.2)


def test_drafted_tokens_speed_up_small_batches_more_than_large_ones() -> None:
    shape = shape_of(a_model(), a_chip(), a_build())

    def gain(in_flight: float) -> float:
        plain, ahead = (at_concurrency(shape, IDEAL, Work(100, 500, drafts=d), in_flight).tpot_s for d in (0, 3))
        return float(plain / ahead)

    assert 1.5 < gain(1) <= 2.54
    assert gain(3000) < gain(1)


def test_steps_are_monotone_in_batch_context_and_bandwidth() -> None:
    table = table_of(packaged_constants())
    for model in (a_model(), a_model(experts=16), a_model(kind="mla")):
        build = a_build(tp=2, precision=Precision.FP8)
        shape = shape_of(model, a_chip(), build)
        fast = shape_of(model, a_chip(bandwidth_gb_s=4000.0), build)
        rates = rates_of(table, [keys_of(model, a_chip(), build)])
        batches = np.array([1, 2, 8, 64, 512, 4096.0])
        steps = decode_step_s(shape, rates, batches, 1000)
        assert (np.diff(steps) > 0).all()
        assert (decode_step_s(shape, rates, batches, 8000) > steps).all()
        assert (decode_step_s(fast, rates, batches, 1000) < steps).all()
