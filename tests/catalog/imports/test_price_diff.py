"""What moved between two files of offers, and which plans it touches."""

import pytest

from polyfleet.catalog.imports.diff import compare, touch
from polyfleet.catalog.offers import load_offers
from polyfleet.errors import CatalogError
from polyfleet.terms.plan import Line, Plan, Rental

P5 = "aws:us-east-1:p5.48xlarge:on_demand"
OWN = "ourselves:hall-1:rack:reserved_3y"
LISTED = {o.id: o for o in load_offers()}


@pytest.fixture
def files(tmp_path):
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(f"id,usd_per_hour,chip,chips,continent\n{P5},50,,,\n{OWN},30,GB300,4,eu\n")
    new.write_text(f"id,usd_per_hour,interruptions_per_month\n{P5},40,\naws:us-east-1:p5.48xlarge:spot,20,0.1\n")
    return old, new


def rental(offer, usd, hours):
    return Rental.model_construct(offer=offer, usd_per_hour=usd, instance_hours_per_month=hours)


def plan_of(*rentals, hosted=()):
    lines = [Line.model_construct(offers=(offer,)) for offer in hosted]
    return Plan.model_construct(rentals=rentals, lines=lines)


def test_moved_appeared_and_gone_are_told_apart(files):
    changes = {c.id: c for c in compare(*files)}
    assert {name: c.what for name, c in changes.items()} == {
        P5: "moved", "aws:us-east-1:p5.48xlarge:spot": "moved", OWN: "gone",
    }  # fmt: skip
    assert (changes[P5].was.usd, changes[P5].now.usd, changes[P5].factor) == (50, 40, 0.8)
    assert changes["aws:us-east-1:p5.48xlarge:spot"].now.interruptions_per_month == 0.1
    assert {c.id: c.what for c in compare(*reversed(files))}[OWN] == "appeared"


def test_one_file_is_compared_with_the_packaged_catalog(files):
    changes = {c.id: c for c in compare(None, files[0])}
    assert changes[P5].was.usd == LISTED[P5].usd_per_hour
    assert {name: c.what for name, c in changes.items()} == {P5: "moved", OWN: "appeared"}


def test_a_file_beside_itself_shows_nothing(files):
    assert compare(files[0], files[0]) == ()


def test_the_furthest_move_stands_first(tmp_path):
    new = tmp_path / "new.csv"
    other = "aws:us-west-2:p5.48xlarge:on_demand"
    new.write_text(f"id,usd_per_hour\n{other},{LISTED[other].usd_per_hour * 1.5}\n{P5},{LISTED[P5].usd_per_hour / 2}\n")
    assert [c.id for c in compare(None, new)] == [P5, other]


def test_a_plan_is_touched_by_the_offers_that_it_rents_and_costs_what_they_now_cost(files):
    plans = {"a.json": plan_of(rental(P5, 50, 1460), rental(OWN, 30, 730)), "b.json": plan_of()}
    changes, (a, b) = touch(compare(*files), plans, files[1])
    assert {c.id: c.plans for c in changes}[P5] == ("a.json",)
    assert (a.changes, a.gone) == (2, (OWN,))
    assert a.usd_per_month == 50 * 1460 + 30 * 730
    assert a.usd_per_month_now == 40 * 1460 + 30 * 730  # what is gone counts as planned
    assert (b.changes, b.gone, b.usd_per_month) == (0, (), 0)


def test_a_hosted_price_that_moves_touches_the_plans_that_use_it(tmp_path):
    from polyfleet.catalog.hosted import load_hosted

    offer = next(h for h in load_hosted() if h.quality != "unproven")
    new = tmp_path / "new.csv"
    new.write_text(f"id,usd_per_million_input,usd_per_million_output\n{offer.id},90,{offer.usd_per_million_output}\n")
    changes, _ = touch(compare(None, new), {"p": plan_of(hosted=[offer.id])}, new)
    assert [(c.id, c.now.usd_input, c.plans) for c in changes] == [(offer.id, 90, ("p",))]


def test_a_broken_file_is_told(tmp_path):
    with pytest.raises(CatalogError, match="no such file"):
        compare(None, tmp_path / "none.csv")
