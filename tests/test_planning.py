"""Specs through the whole of planning: what the policy says is what the plan does."""

import pytest

from polyfleet import api
from polyfleet.errors import CatalogError, InfeasibleError, TraceError
from polyfleet.terms.spec_text import parse_source

SPEC = """\
workloads:
  chat:
    model: Qwen/Qwen3-32B
    precision: [bf16, fp8]
    traffic: {{rate: 6/s, input: {input}, output: 200}}
    slo: {{ttft: {ttft} p95, tpot: 50ms p95}}
policy:
  hosted: {hosted}
  {more}
{tail}
"""


def plan(tmp_path, *, more="", hosted="forbidden", prompt=900, ttft="2s", tail=""):
    text = SPEC.format(input=prompt, ttft=ttft, hosted=hosted, more=more, tail=tail)
    return api.make_plan(parse_source(text, file=str(tmp_path / "fleet.yaml")))


def test_a_quota_by_an_alias_binds(tmp_path):
    free = plan(tmp_path)
    chip, provider = free.rentals[0].chip, free.rentals[0].provider
    bound = plan(tmp_path, more=f"quotas: {{{provider.upper()}: {{{chip.lower()}: 0}}}}")
    assert all((r.provider, r.chip) != (provider, chip) for r in bound.rentals)
    assert bound.usd_per_month >= free.bound_usd_per_month


def test_what_is_excluded_is_not_used_and_never_makes_it_cheaper(tmp_path):
    free = plan(tmp_path)
    other = plan(tmp_path, more=f"exclude: {{chip: [{free.rentals[0].chip}]}}")
    assert free.rentals[0].chip not in {r.chip for r in other.rentals}
    assert other.usd_per_month >= free.bound_usd_per_month


def test_a_negotiated_price_wins_and_is_labelled_as_the_users(tmp_path):
    free = plan(tmp_path)
    offer = free.rentals[0]
    (tmp_path / "mine.csv").write_text(f"id,usd_per_hour\n{offer.offer},{offer.usd_per_hour / 2}\n")
    ours = plan(tmp_path, tail="catalog: {offers: [mine.csv]}")
    rental = next(r for r in ours.rentals if r.offer == offer.offer)
    assert rental.usd_per_hour == pytest.approx(offer.usd_per_hour / 2)
    assert "mine.csv" in rental.price_source
    assert ours.usd_per_month <= free.usd_per_month


def test_requests_longer_than_the_models_context_are_refused_with_the_context(tmp_path):
    with pytest.raises(InfeasibleError, match="context of 40,960 tokens"):
        plan(tmp_path, prompt=200_000, ttft="600s")


def test_only_hosts_allowed_means_only_hosts(tmp_path):
    assert {line.kind for line in plan(tmp_path, hosted="only").lines} == {"hosted"}


def test_a_cautious_plan_is_never_cheaper(tmp_path):
    assert plan(tmp_path, more="speed: p10").usd_per_month >= plan(tmp_path).bound_usd_per_month


def test_a_budget_too_small_says_what_it_would_take(tmp_path):
    with pytest.raises(InfeasibleError, match="USD a month") as error:
        plan(tmp_path, more="budget: 10 USD / month")
    assert error.value.clash[0] == "budget"


def test_an_error_in_another_file_says_where_that_file_is_named(tmp_path):
    (tmp_path / "mine.csv").write_text("id,usd_per_hour\naws:us-east-1:p5.48xlarge:on_demand,free\n")
    with pytest.raises(CatalogError, match=r"mine.csv:2: .* \(named at .*fleet.yaml:10\)"):
        plan(tmp_path, tail="catalog: {offers: [mine.csv]}")
    text = "workloads: {a: {model: Qwen/Qwen3-8B, traffic: {trace: none.csv}}}"
    with pytest.raises(TraceError, match=r"none.csv: .* \(named at .*fleet.yaml:1\)"):
        api.load_inputs(parse_source(text, file=str(tmp_path / "fleet.yaml")))


def test_the_same_spec_gives_the_same_plan_to_the_last_digit(tmp_path):
    assert plan(tmp_path).digest == plan(tmp_path).digest
