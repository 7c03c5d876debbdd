"""Fitting, on rows whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from speed_toys import a_build, a_chip, a_model

from polyfleet.speed.constants import bounded, packaged_constants, rates_of, table_of
from polyfleet.speed.fit import Measured, _Problem, _soften, fit, scope_kind
from polyfleet.speed.point import Load, Point, Regime, point_of
from polyfleet.speed.predict import METRICS, Batch, predict


def points() -> list[Point]:
    found = []
    for chip in (a_chip(), a_chip(name="other", family="other", bandwidth_gb_s=4000.0)):
        for model in (a_model(), a_model(experts=16, name="toy/mixture")):
            for batch in (1, 4, 16, 64, 256):
                load = Load(Regime.CONCURRENCY, 500, 300, in_flight=batch)
                build = a_build(model=model.name, chip=chip.name)
                point = point_of(model, chip, build, load)
                found.append(replace(point, keys={**point.keys, "harness": f"bench {batch % 3}"}))
    return found


def truth(slower_other: float) -> list[Measured]:
    """Rows that the packaged constants would give, with one chip family slower."""
    batch = points()
    found = predict(Batch.of(batch), rates_of(table_of(packaged_constants()), [p.keys for p in batch]))
    slow = {"throughput": 1 / slower_other, "ttft": slower_other, "tpot": slower_other}
    return [
        Measured(p, {m: float(found[m][i]) * (slow[m] if p.keys["family"] == "other" else 1) for m in METRICS})
        for i, p in enumerate(batch)
    ]


def test_a_fit_gives_back_the_rows_it_was_made_from() -> None:
    rows = truth(1.5)
    table = table_of(fit(rows).constants)
    found = predict(Batch.of([r.point for r in rows]), rates_of(table, [r.point.keys for r in rows]))
    errors = [abs(math.log(found[m][i] / r.values[m])) for i, r in enumerate(rows) for m in ("throughput", "tpot")]
    assert np.median(errors) < 0.05


def test_one_odd_harness_does_not_bend_the_constants() -> None:
    rows = truth(1.0)
    odd = Measured(replace(rows[0].point, keys={**rows[0].point.keys, "harness": "odd"}),
                   {m: v * 20 for m, v in rows[0].values.items()})  # fmt: skip
    plain, bent = (table_of(fit(r).constants) for r in (rows, [*rows, odd]))
    keys = [rows[5].point.keys]
    for name in ("memory_eff", "step_s"):
        a, b = (getattr(rates_of(t, keys), name)[0] for t in (plain, bent))
        assert b == pytest.approx(a, rel=0.1)


def test_the_same_rows_give_the_same_constants() -> None:
    assert fit(truth(1.3), steps=4).constants == fit(truth(1.3), steps=4).constants


def test_the_jacobian_is_that_of_the_residuals() -> None:
    problem = _Problem.of(truth(1.5))
    x = np.full(len(problem.origin()), 0.01)
    slopes, base, step = problem.jacobian(x), problem.residuals(x), 1e-5
    for column in range(0, len(x), 7):
        moved = x.copy()
        moved[column] += step
        assert slopes[:, column] == pytest.approx((problem.residuals(moved) - base) / step, abs=0.02)


def test_the_loss_pulls_less_the_farther_a_row_is() -> None:
    errors = np.array([0.05, 0.2, 1.0, 3.0])
    cost, slope = _soften(errors)
    pull = cost * slope
    assert pull[0] < pull[1] > pull[2] > pull[3]


def test_no_share_of_a_datasheet_exceeds_one() -> None:
    assert list(bounded("memory_eff", np.log([0.5, 2.0]))) == pytest.approx([0.5, 1.0])
    assert list(bounded("layer_s", np.log([2.0]))) == pytest.approx([2.0])


def test_scopes_are_told_by_their_keys() -> None:
    assert scope_kind("all") == "all"
    assert scope_kind("family=ada&format=fp8") == "family&format"


def test_every_packaged_constant_states_its_rows() -> None:
    assert all(c.rows > 0 and c.value > 0 for c in packaged_constants())
