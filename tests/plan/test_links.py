"""A box's chips are as fast as the link that joins them there; bands are told against what is planned on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polyfleet.catalog.models import find_model
from polyfleet.catalog.store import Catalog, load_catalog
from polyfleet.plan.own_options import Reach, own_options, rentable
from polyfleet.plan.problem import Option
from polyfleet.speed import SpeedModel, load_speed_model
from polyfleet.terms.demand import Bucket
from polyfleet.terms.offer import Offer
from polyfleet.terms.slo import Slo
from polyfleet.terms.spec import Policy, Workload

SLO = Slo(ttft_ms=2000.0, tpot_ms=60.0)
BUCKETS = (Bucket(1000.0, 200.0),)
MODEL = "Qwen/Qwen3-32B"


@pytest.fixture(scope="module")
def speed() -> SpeedModel:
    return load_speed_model()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """One 4-chip offer of a card sold with and without a bridge, on each of three links, and one of 1 chip."""
    packaged = load_catalog(include_unproven=True)
    one = next(o for o in packaged.offers if o.chip == "H100-PCIe")

    def offer(name: str, chips: int, link_gb_s: float, usd: float) -> Offer:
        return dataclasses.replace(one, id=name, chips=chips, link_gb_s=link_gb_s, usd_per_hour=usd, provider="cloud")

    offers = (
        offer("bridged", 2, 300.0, 9.0), offer("bridgeless", 2, 64.0, 8.0), offer("dear bridgeless", 2, 64.0, 8.5),
        offer("alone", 1, 64.0, 4.0), offer("alone too", 1, 300.0, 4.1),
    )  # fmt: skip
    return dataclasses.replace(packaged, offers=offers)


def options_of(catalog: Catalog, speed: SpeedModel, policy: Policy) -> dict[str, list[Option]]:
    """Options by the first offer of their box."""
    boxes = rentable(catalog, policy)
    reach = Reach(find_model(MODEL), BUCKETS, SLO, SLO)
    workload = Workload.model_validate(
        {"model": MODEL, "precision": "fp8", "batch": {"input_tokens": 1, "output_tokens": 1}}
    )
    found: dict[str, list[Option]] = {}
    for option in own_options(0, "w", workload, reach, boxes, catalog, speed, policy):
        found.setdefault(boxes[option.box].steps[0].offer_id, []).append(option)
    return found


def test_a_box_without_a_bridge_is_slower_where_a_replica_spans_its_chips(catalog: Catalog, speed: SpeedModel) -> None:
    found = options_of(catalog, speed, Policy())
    by_chips = {name: {o.build.chips: o for o in options} for name, options in found.items()}
    wide, narrow = by_chips["bridged"], by_chips["bridgeless"]
    assert np.all(narrow[2].capacity < wide[2].capacity)
    assert np.array_equal(narrow[1].capacity, wide[1].capacity)


def test_its_speed_is_that_of_the_chip_with_the_link_of_the_box(catalog: Catalog, speed: SpeedModel) -> None:
    (option,) = [o for o in options_of(catalog, speed, Policy())["bridgeless"] if o.build.chips == 2]
    chip = dataclasses.replace(catalog.chips["H100-PCIe"], link_gb_s=64.0, link_name="PCIe5 x16")
    (told,) = speed.capacity(find_model(MODEL), chip, option.build, BUCKETS, SLO)
    assert option.capacity[0] == pytest.approx(told.requests_per_s.p50, rel=1e-12)


def test_boxes_are_kept_apart_by_link_only_where_it_joins_chips(catalog: Catalog) -> None:
    groups = {tuple(s.offer_id for s in box.steps) for box in rentable(catalog, Policy())}
    assert groups == {("bridged",), ("bridgeless",), ("alone",)}


@pytest.mark.parametrize("planned", ["p50", "p10"])
def test_a_band_is_told_over_the_speed_that_is_planned_on(catalog: Catalog, speed: SpeedModel, planned: str) -> None:
    (option,) = [o for o in options_of(catalog, speed, Policy(speed=planned))["bridged"] if o.build.chips == 2]
    (told,) = speed.capacity(find_model(MODEL), catalog.chips["H100-PCIe"], option.build, BUCKETS, SLO)
    rates = told.requests_per_s
    assert option.capacity[0] * option.band[0] == pytest.approx(rates.p10)
    assert option.capacity[0] * option.band[1] == pytest.approx(rates.p90)
