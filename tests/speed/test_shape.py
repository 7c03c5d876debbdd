"""Loads of a replica, against hand counts and against the footprint of the whole model."""

from __future__ import annotations

import pytest
from speed_toys import a_build, a_chip, a_model

from polyfleet.speed.shape import kv_shards, link_gb_s, shape_of, stack
from polyfleet.terms.footprint import weight_bytes
from polyfleet.terms.precision import Precision


def test_one_chip_holds_all_weights_of_the_model() -> None:
    for model in (a_model(), a_model(experts=8), a_model(kind="mla")):
        assert shape_of(model, a_chip(), a_build()).weight_bytes == pytest.approx(weight_bytes(model, Precision.BF16))


def test_tensor_parallel_splits_weights_and_compute_evenly() -> None:
    one, four = (shape_of(a_model(), a_chip(), a_build(tp=tp)) for tp in (1, 4))
    assert four.dense_bytes == pytest.approx(one.dense_bytes / 4)
    assert four.dense_peak_s == pytest.approx(one.dense_peak_s / 4)


def test_compute_of_one_token_is_two_flops_a_parameter_at_the_datasheet_rate() -> None:
    # 10 x (4 M + 16 M) + 32.768 M head parameters, 2 FLOPs each, 500 TFLOPS
    assert shape_of(a_model(), a_chip(), a_build()).dense_peak_s == pytest.approx(2 * 232.768e6 / 500e12)


@pytest.mark.parametrize(("tp", "shards"), [(1, 1), (4, 4), (8, 8), (16, 8)])
def test_grouped_query_cache_splits_over_at_most_its_kv_heads(tp: int, shards: int) -> None:
    assert kv_shards(a_model().groups[0].attention, tp) == shards


def test_latent_cache_is_whole_on_every_chip_of_a_tensor_parallel_group() -> None:
    model = a_model(kind="mla")
    # 10 layers x 576 values x 2 bytes
    for tp in (1, 8):
        assert shape_of(model, a_chip(), a_build(tp=tp)).kv_full_bytes == 11_520


def test_attention_dp_keeps_attention_whole_and_spreads_experts() -> None:
    model = a_model(experts=8, kind="mla")
    one, spread = (shape_of(model, a_chip(), a_build(dp=dp, ep=dp)) for dp in (1, 8))
    assert spread.expert_bytes == pytest.approx(one.expert_bytes / 8)
    attention = 10 * 4_000_000 * 2
    assert spread.dense_bytes > attention
    assert one.expert_bytes == 10 * 8 * 2_000_000 * 2


def test_pipeline_stages_share_weights_and_cache() -> None:
    one, two = (shape_of(a_model(), a_chip(), a_build(pp=pp)) for pp in (1, 2))
    assert two.weight_bytes == pytest.approx(one.weight_bytes / 2)
    assert two.held_full_bytes == pytest.approx(one.held_full_bytes / 2)


def test_a_replica_larger_than_the_fabric_talks_over_pcie() -> None:
    bridge = a_chip(domain_chips=2)
    assert link_gb_s(bridge, a_build(tp=2)) == 400
    assert link_gb_s(bridge, a_build(tp=4)) == 32
    assert link_gb_s(a_chip(link_name="PCIe5 x16", link_gb_s=64.0), a_build(tp=2)) == 32


def test_stacked_shapes_keep_their_order() -> None:
    shapes = [shape_of(a_model(), a_chip(), a_build(tp=tp)) for tp in (1, 2, 4)]
    assert list(stack(shapes).tp) == [1, 2, 4]
