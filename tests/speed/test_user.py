"""The user's own measurements: they move predictions onto themselves, and neighbours part of the way."""

from __future__ import annotations

import math

import pytest
from speed_toys import a_build, a_chip, a_model

from polyfleet.speed.model import SpeedModel, load_speed_model
from polyfleet.speed.point import Load, Regime, point_of
from polyfleet.speed.user import CalibratedRow
from polyfleet.terms.build import Build
from polyfleet.terms.demand import Bucket
from polyfleet.terms.evidence import Evidence
from polyfleet.terms.precision import Precision
from polyfleet.terms.slo import Slo

LOAD = Load(Regime.CONCURRENCY, 1000, 200, in_flight=8)


def measured(speed: SpeedModel, factor: float, build: Build | None = None) -> CalibratedRow:
    point = point_of(a_model(), a_chip(), build or a_build(), LOAD)
    found = speed.predict([point])
    values = {"throughput": found["throughput"][0] / factor, "ttft": found["ttft"][0] * factor,
              "tpot": found["tpot"][0] * factor}  # fmt: skip
    return CalibratedRow(point, values)


def tpot(speed: SpeedModel, name: str = "toy/model", family: str = "toy", chip: str = "toy") -> float:
    model, where = a_model(name=name), a_chip(family=family, name=chip)
    return speed.performance(model, where, a_build(model=name, chip=chip), 1000, 200, 8).tpot_ms.p50


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_one_row_moves_its_own_build_four_fifths_of_the_way(speed: SpeedModel, factor: float) -> None:
    mine = load_speed_model([measured(speed, factor)])
    near = 0.5 * math.log(factor) + 0.25 * math.log(factor) * 0.5
    expected = near + (math.log(factor) - near) * 4 / 5
    assert math.log(tpot(mine) / tpot(speed)) == pytest.approx(expected, rel=1e-6)


def test_neighbours_move_less_the_farther_they_are(speed: SpeedModel) -> None:
    mine = load_speed_model([measured(speed, 4.0)])
    moved = [
        tpot(mine, **where) / tpot(speed, **where)
        for where in (
            {},
            {"name": "toy/other"},
            {"name": "toy/other", "chip": "toy2"},
            {"family": "far", "chip": "far"},
        )
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] == pytest.approx(1.0)
    assert moved[1] > 1.5


def test_a_measured_build_is_labelled_and_gets_a_narrow_band(speed: SpeedModel) -> None:
    before = speed.performance(a_model(), a_chip(), a_build(), 1000, 200, 8)
    after = load_speed_model([measured(speed, 1.0)]).performance(a_model(), a_chip(), a_build(), 1000, 200, 8)
    assert (before.evidence, after.evidence) == (Evidence.PHYSICS, Evidence.MEASURED)
    width = [math.log(p.output_tokens_per_s.p90 / p.output_tokens_per_s.p10) for p in (before, after)]
    assert width[1] < width[0]


def test_another_precision_of_the_same_model_is_a_neighbour_only(speed: SpeedModel) -> None:
    mine = load_speed_model([measured(speed, 2.0)])
    found = mine.performance(a_model(), a_chip(), a_build(precision=Precision.FP8), 1000, 200, 8)
    assert found.evidence is Evidence.PHYSICS


def test_throughput_alone_also_corrects_the_time_per_token(speed: SpeedModel) -> None:
    row = measured(speed, 2.0)
    mine = load_speed_model([CalibratedRow(row.point, {"throughput": row.values["throughput"]})])
    assert tpot(mine) > 1.5 * tpot(speed)


def test_a_slow_measurement_lowers_capacity(speed: SpeedModel) -> None:
    mine = load_speed_model([measured(speed, 2.0)])
    rates = [s.capacity(a_model(), a_chip(), a_build(), [Bucket(1000, 200)], Slo(500, 95, 10, 95))[0].requests_per_s.p50
             for s in (speed, mine)]  # fmt: skip
    assert rates[1] < rates[0]
