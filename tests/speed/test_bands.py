"""Bands: ordered, wider where less is known."""

from __future__ import annotations

import math

from polyfleet.speed.bands import Factors, factors_for, packaged_bands


def test_a_band_always_holds_the_prediction() -> None:
    assert Factors(1.2, 1.5).band(10).p10 == 10
    assert Factors(0.5, 0.8).band(10).p90 == 10


def test_packaged_bands_cover_every_kind_of_evidence() -> None:
    bands = packaged_bands()
    for metric in ("throughput", "ttft", "tpot"):
        for evidence in ("own", "calibrated", "physics"):
            factors = factors_for(bands, metric, "a family without rows", evidence)
            assert 0 < factors.p10 < 1 < factors.p90


def test_ones_own_measurement_is_surer_than_physics() -> None:
    bands = packaged_bands()
    for metric in ("throughput", "ttft", "tpot"):
        own, physics = (factors_for(bands, metric, "", e) for e in ("own", "physics"))
        assert math.log(own.p90 / own.p10) < math.log(physics.p90 / physics.p10)


def test_a_family_with_rows_has_its_own_band() -> None:
    bands = packaged_bands()
    assert factors_for(bands, "throughput", "hopper", "calibrated") == bands["throughput", "family=hopper"]
