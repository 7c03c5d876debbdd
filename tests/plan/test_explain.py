"""An impossible problem is explained by what clashes and the nearest that could be kept."""

import dataclasses

import pytest

from polyfleet.errors import InfeasibleError
from polyfleet.plan.make import plan_problem, solve
from polyfleet.plan.problem import Limits, Problem, Quota
from polyfleet.plan.restrict import keeping
from polyfleet.plan.synthetic import Shape, draw

BASE = draw(Shape(buckets=3, providers=4, vendors=3, chips=6, rate_per_s=8.0), 1)


def refused(problem: Problem) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        plan_problem(problem)
    return caught.value


def only(kind: str, *names: str) -> Problem:
    return keeping(BASE, lambda b: b.supplier.named(kind) in names)


def test_a_cap_on_the_only_provider_is_named_with_the_share_it_would_need() -> None:
    provider = BASE.boxes[0].supplier.provider
    alone = only("provider", provider)
    capped = dataclasses.replace(alone, limits=Limits(caps=alone.limits.caps))
    vendors = {c.supplier for c in capped.limits.caps if c.kind == "chip_vendor"}
    loose = Limits(tuple(c for c in capped.limits.caps if c.kind == "provider"))
    error = refused(dataclasses.replace(capped, limits=loose))
    assert vendors
    assert error.clash == ("max_share provider",)
    assert error.nearest == "max_share provider at 100% instead of 60%"


def test_a_loss_of_the_only_vendor_is_named() -> None:
    vendor = BASE.boxes[0].supplier.chip_vendor
    alone = only("chip_vendor", vendor)
    losses = tuple(s for s in alone.limits.losses if s.kind == "chip_vendor")
    error = refused(dataclasses.replace(alone, limits=Limits((), losses)))
    assert error.clash == ("survive chip_vendor",)
    assert error.nearest is not None
    assert "keeping 0% instead of 100%" in error.nearest


def test_quotas_that_are_too_small_are_named_with_the_chips_needed() -> None:
    chips = {b.chip for b in BASE.boxes}
    providers = {b.supplier.provider for b in BASE.boxes}
    quotas = tuple(Quota(p, c, 0) for p in sorted(providers) for c in sorted(chips))
    error = refused(dataclasses.replace(BASE, limits=Limits(quotas=quotas)))
    assert len(error.clash) >= 1
    assert all(name.startswith("quota ") for name in error.clash)
    assert error.nearest is not None
    assert "chips instead of 0" in error.nearest


def with_only(problem: Problem, names: tuple[str, ...]) -> Problem:
    caps = tuple(c for c in problem.limits.caps if f"max_share {c.kind}" in names)
    losses = tuple(s for s in problem.limits.losses if f"survive {s.kind}" in names)
    return dataclasses.replace(problem, limits=Limits(caps, losses))


@pytest.mark.parametrize("kind", ["provider", "chip_vendor"])
def test_the_clash_is_a_smallest_one(kind: str) -> None:
    alone = only(kind, BASE.boxes[0].supplier.named(kind))
    clash = refused(alone).clash
    assert clash
    assert solve(with_only(alone, clash), gap=0.1).fleet is None
    for name in clash:
        rest = tuple(n for n in clash if n != name)
        assert solve(with_only(alone, rest), gap=0.1).fleet is not None


def test_a_budget_below_the_cheapest_plan_names_what_it_would_take() -> None:
    cheapest = solve(BASE, gap=0.001)
    limits = dataclasses.replace(BASE.limits, budget_usd_per_month=cheapest.usd * 0.8)
    error = refused(dataclasses.replace(BASE, limits=limits))
    assert error.clash[0] == "budget"
    assert error.nearest is not None
    assert f"{cheapest.usd:,.0f}"[:3] in error.nearest


def test_a_budget_that_suffices_changes_nothing() -> None:
    cheapest = plan_problem(BASE)
    limits = dataclasses.replace(BASE.limits, budget_usd_per_month=cheapest.usd_per_month * 1.01)
    again = plan_problem(dataclasses.replace(BASE, limits=limits))
    assert again.usd_per_month == cheapest.usd_per_month
