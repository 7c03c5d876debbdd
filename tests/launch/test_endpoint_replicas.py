"""Endpoints and hosts as replicas: addresses, keys, names, prices and shares, and what is told where one is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_plans import hosted, line, plan

from polyfleet.catalog.hosted import load_hosted
from polyfleet.errors import InputError, SpecError
from polyfleet.launch.endpoint import endpoint_replicas
from polyfleet.launch.endpoint_url import address_of
from polyfleet.launch.engines import ENGINES
from polyfleet.terms import plan as terms
from polyfleet.terms.fleet import ENDPOINT
from polyfleet.terms.route import Route
from polyfleet.terms.spec_text import parse_source

GROQ = "groq:*:openai/gpt-oss-120b:per_token"
SIZES = ((100.0, 20.0), (3000.0, 400.0))


def spec_of(endpoints="{}", model="openai/gpt-oss-120b"):
    return parse_source(
        f"workloads:\n  chat: {{model: {model}, traffic: {{rate: 1/s, input: 9, output: 9}}}}\n"
        f"  code: {{model: {model}, traffic: {{rate: 1/s, input: 9, output: 9}}}}\n"
        f"launch:\n  endpoints: {endpoints}\n"
    ).spec


def plan_of(*lines, rates):
    """`rates`: requests a second by line and bucket, of window 0."""
    made = plan(lines, (), model="openai/gpt-oss-120b", windows=2)
    buckets = tuple(terms.PlanBucket(input_tokens=i, output_tokens=o) for i, o in SIZES)
    routes = tuple(
        terms.Route(window=0, workload=made.lines[number].workload, bucket=bucket, line=number, requests_per_s=rate)
        for number, by_bucket in rates.items()
        for bucket, rate in enumerate(by_bucket)
    )
    workloads = tuple(w.model_copy(update={"buckets": buckets}) for w in made.workloads)
    return made.model_copy(update={"routes": routes, "workloads": workloads})


def sold(number, offer=GROQ, workload="chat"):
    provider, region, _, _ = offer.split(":")
    update = {"offers": (offer,), "provider": provider, "region": region}
    return hosted(number, workload).model_copy(update=update)


def made(spec, a_plan=None, folder=None, window=0, **env):
    return endpoint_replicas(spec, a_plan, window, folder or Path(), env)


def test_a_line_of_the_plan_becomes_a_route_to_its_host():
    (one,) = made(spec_of(), plan_of(sold(0), rates={0: (3.0, 0.5)}), GROQ_API_KEY="gsk")
    offer = next(offer for offer in load_hosted() if offer.id == GROQ)
    assert (one.id, one.place, one.provider, one.offer) == ("chat-groq", ENDPOINT, "groq", GROQ)
    assert (one.url, one.path, one.key_env) == ("https://api.groq.com", "/openai/v1", "GROQ_API_KEY")
    assert one.served == ("chat", "openai/gpt-oss-120b")
    assert one.upstream_model == "openai/gpt-oss-120b"
    assert (one.usd_per_m_input, one.usd_per_m_output) == (offer.usd_per_million_input, offer.usd_per_million_output)
    assert one.context_tokens == offer.max_input_tokens
    assert (one.shares, one.buckets) == ((3.0, 0.5), SIZES)
    assert ENGINES[one.engine].speaks == "openai"
    assert "gsk" not in one.model_dump_json()


def test_a_line_without_traffic_in_the_window_is_no_route_and_needs_no_key():
    one = plan_of(sold(0), rates={0: (0.0, 0.0)})
    assert made(spec_of(), one) == ()
    assert made(spec_of("{groq: {key_env: K}}"), one) == ()
    assert made(spec_of(), plan_of(sold(0), rates={0: (1.0, 0.0)}), window=1) == ()


def test_the_users_prices_and_entries_go_before_the_catalogs():
    dearer = tuple(replace(o, usd_per_million_input=9.0) if o.id == GROQ else o for o in load_hosted())
    a_plan = plan_of(sold(0), rates={0: (1.0, 1.0)})
    (one,) = endpoint_replicas(spec_of(), a_plan, 0, Path(), {"GROQ_API_KEY": "k"}, hosted=dearer)
    assert one.usd_per_m_input == 9.0
    entry = "{groq: {url: 'https://proxy.test/g', key_env: K, model: big, usd_per_m_input: 0.5, slots: 7, context: 99}}"
    (one,) = made(spec_of(entry), a_plan, K="k")
    assert (one.url, one.path, one.key_env, one.upstream_model) == ("https://proxy.test", "/g", "K", "big")
    assert (one.usd_per_m_input, one.slots, one.context_tokens) == (0.5, 7, 99)


def test_an_entry_of_a_workload_alone_serves_it_beside_the_plan_or_without_one(tmp_path):
    (tmp_path / "key").write_text("sk")
    spec = spec_of(
        "{trn-box: {workload: code, url: 'http://10.0.0.7:8000', key_file: key, speaks: vllm, chip: Trainium2,"
        " usd_per_hour: 12, share: 2}}"
    )
    (one,) = made(spec, folder=tmp_path)
    assert (one.id, one.workload, one.chip, one.usd_per_hour) == ("code-trn-box", "code", "Trainium2", 12)
    assert (one.url, one.path) == ("http://10.0.0.7:8000", "/v1")
    assert one.key_file == str(tmp_path / "key")
    assert one.key_env is None
    assert one.upstream_model is None
    assert ENGINES[one.engine].speaks == "vllm"
    assert (one.shares, one.buckets) == ((2.0,), ())
    own = line(0, "1xH100-SXM fp8 vllm", "a:b:c:on_demand", (3, 0), workload="code")
    (beside,) = made(spec, plan_of(own, rates={0: (6.0, 3.0)}), folder=tmp_path)
    assert (beside.shares, beside.buckets) == ((4.0, 2.0), SIZES)  # twice the mean of its three replicas


def test_hosts_in_several_regions_and_workloads_have_names_of_their_own():
    offers = [f"aws:{region}:deepseek-ai/DeepSeek-V3.2:per_token" for region in ("ap-northeast-1", "us-east-1")]
    lines = (sold(0, offers[0]), sold(1, offers[1]), sold(2, offers[0], "code"))
    rates = {0: (1.0, 0.0), 1: (1.0, 1.0), 2: (1.0, 1.0)}
    found = made(spec_of(), plan_of(*lines, rates=rates), AWS_BEARER_TOKEN_BEDROCK="k")
    assert [one.id for one in found] == ["chat-aws", "chat-aws-2", "code-aws"]
    assert [one.url for one in found] == [
        "https://bedrock-mantle.ap-northeast-1.api.aws", "https://bedrock-mantle.us-east-1.api.aws",
        "https://bedrock-mantle.ap-northeast-1.api.aws",
    ]  # fmt: skip
    assert {one.upstream_model for one in found} == {"deepseek.v3.2"}


def test_placeholders_are_filled_from_the_environment():
    a_plan = plan_of(sold(0, "azure:eu:openai/gpt-4.1:per_token"), rates={0: (1.0, 1.0)})
    env = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_RESOURCE": "acme"}
    (one,) = made(spec_of(), a_plan, **env)
    assert (one.url, one.path, one.upstream_model) == ("https://acme.openai.azure.com", "/openai/v1", "gpt-4.1")
    a_plan = plan_of(sold(0, "databricks:*:google/gemma-3-12b-it:per_token"), rates={0: (1.0, 1.0)})
    (one,) = made(spec_of(), a_plan, DATABRICKS_HOST="https://dbc-1.cloud.databricks.com/", DATABRICKS_TOKEN="k")
    assert (one.url, one.path) == ("https://dbc-1.cloud.databricks.com", "/serving-endpoints")


AZURE = "azure:eu:openai/gpt-4.1:per_token"
CLAUDE_AT_GCP = "gcp:global:anthropic/claude-opus-5:per_token"
BEDROCK_US = "aws:us:anthropic/claude-haiku-4-5:per_token"


@pytest.mark.parametrize(
    ("endpoints", "offer", "env", "told"),
    [
        ("{}", AZURE, {"AZURE_OPENAI_API_KEY": "k"}, "set AZURE_OPENAI_RESOURCE in the environment, or write it"),
        ("{}", BEDROCK_US, {"AWS_BEARER_TOKEN_BEDROCK": "k"}, "set AWS_REGION in the environment, or write it"),
        ("{}", "acme:*:m:per_token", {}, "the endpoint acme has no known address; write it"),
        ("{}", CLAUDE_AT_GCP, {"GOOGLE_CLOUD_PROJECT": "p"}, "does not serve anthropic/claude-opus-5"),
        ("{box: {url: 'http://a:1'}}", None, {}, "the endpoint box says no `workload`; write `workload:`, one of chat"),
        ("{box: {workload: chat}}", None, {}, "the endpoint box has no known address"),
        ("{box: {workload: chat, url: 'a:1'}}", None, {}, "launch.endpoints.box.url: no address of an API"),
        ("{box: {workload: chat, url: 'http://k:s@a/v1'}}", None, {}, "must not hold a key"),
        ("{box: {workload: chat, url: 'http://a/v1/chat/completions'}}", None, {}, "the base of the API is wanted"),
    ],
)
def test_what_is_missing_is_said_with_what_to_write(endpoints, offer, env, told, tmp_path):
    a_plan = plan_of(sold(0, offer), rates={0: (1.0, 1.0)}) if offer else None
    with pytest.raises(SpecError) as found:
        made(spec_of(endpoints), a_plan, folder=tmp_path, **env)
    assert told in str(found.value)
    assert found.value.exit_code == 2
    assert "k:s" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "url", "path"),
    [
        ("https://api.test", "https://api.test", "/v1"),
        ("https://api.test/", "https://api.test", "/v1"),
        ("https://api.test/openai/v1/", "https://api.test", "/openai/v1"),
        ("http://10.0.0.1:8000/v1", "http://10.0.0.1:8000", "/v1"),
        ("http://[::1]:8000/a", "http://[::1]:8000", "/a"),
    ],
)
def test_addresses_are_taken_apart(text, url, path):
    assert address_of(text) == (url, path)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"https?://[!-~]{0,30}", fullmatch=True)))
def test_an_address_is_sound_or_refused(text):
    """Oracle: what the gate takes as a route."""
    try:
        address = address_of(text)
    except InputError:
        return
    Route(id="a", url=address.url, path=address.path, served=("m",))
