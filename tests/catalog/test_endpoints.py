"""Where hosts are reached, and what they call the models: every row, and names against the hosted offers."""

import re

import pytest

from polyfleet.catalog.endpoints import known_endpoints
from polyfleet.catalog.hosted import load_hosted
from polyfleet.launch.endpoint_url import address_of, filled, missing_in

OFFERS = {offer.id: offer for offer in load_hosted()}


def test_every_host_of_the_catalog_has_an_endpoint():
    assert {offer.provider for offer in OFFERS.values()} <= set(known_endpoints())


@pytest.mark.parametrize("known", known_endpoints().values(), ids=lambda known: known.provider)
def test_each_row_is_a_sound_address_with_a_key_and_a_source(known):
    values = dict.fromkeys(missing_in(known.url, {}), "value-1")
    address = address_of(filled(known.url, values))
    assert address.url.startswith("https://")
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", known.key_env)
    assert known.source.startswith("https://")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", known.as_of)
    assert known.evidence in {"opened", "seen", "recalled"}


@pytest.mark.parametrize(
    ("offer", "name"),
    [
        ("groq:*:openai/gpt-oss-120b:per_token", "openai/gpt-oss-120b"),
        ("together:*:Qwen/Qwen2.5-72B-Instruct:per_token", "Qwen/Qwen2.5-72B-Instruct"),
        ("openai:*:openai/gpt-4.1:per_token", "gpt-4.1"),
        ("anthropic:*:anthropic/claude-sonnet-4-5:per_token", "claude-sonnet-4-5"),
        ("azure:eu:openai/gpt-4.1:per_token", "gpt-4.1"),
        ("aws:ap-northeast-1:MiniMaxAI/MiniMax-M2.1:per_token", "minimax.minimax-m2.1"),
        ("gcp:global:google/gemini-2.5-pro:per_token", "google/gemini-2.5-pro"),
        ("gcp:global:google/gemini-3.1-pro-preview:per_token", "google/gemini-3.1-pro-preview"),
        ("gcp:global:meta-llama/Llama-3.1-405B-Instruct:per_token", "meta/llama-3.1-405b-instruct-maas"),
        ("gcp:global:anthropic/claude-opus-5:per_token", None),
        ("cloudflare:global:Qwen/QwQ-32B:per_token", "@cf/qwen/qwq-32b"),
    ],
)
def test_names_of_true_rows(offer, name):
    found = OFFERS[offer]
    known = known_endpoints()[found.provider]
    assert known.name_of(found) == name
    assert known.lacks(found) is (name is None)


def test_fireworks_names_are_paths_however_the_list_shortens_them():
    known = known_endpoints()["fireworks"]
    names = [known.name_of(offer) for offer in OFFERS.values() if offer.provider == "fireworks"]
    assert len(names) > 50
    assert all(name.startswith("accounts/fireworks/models/") and name.count("/") == 3 for name in names)


def test_no_name_keeps_the_lists_own_prefix():
    named = 0
    for offer in OFFERS.values():
        known = known_endpoints()[offer.provider]
        name = known.name_of(offer)
        if name is None:
            assert (offer.provider, offer.model.split("/")[0]) == ("gcp", "anthropic")
            continue
        named += 1
        assert not name.startswith(tuple(start.replace("{region}", offer.region) for start, _ in known.renames)), name
        assert " " not in name
    assert named > 800
