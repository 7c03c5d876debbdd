from collections import Counter

import pytest
from curation.hosted import closed_model, key

from polyfleet.catalog.hosted import hosted_id, load_hosted, sold_as
from polyfleet.catalog.models import find_model
from polyfleet.terms.offer import HostedOffer

HOSTED = {offer.id: offer for offer in load_hosted()}


def sellers(model: str) -> set[str]:
    return {h.provider for h in HOSTED.values() if h.model == model}


def test_ids_are_unique_and_told_by_the_offer() -> None:
    assert len(HOSTED) == len(load_hosted())
    assert all(h.id == hosted_id(h.provider, h.region, h.model) for h in load_hosted())


@pytest.mark.parametrize(
    ("name", "usd_per_million_input", "usd_per_million_output"),
    [  # read off the raw price table by hand
        ("cerebras:*:openai/gpt-oss-120b:per_token", 0.35, 0.75),
        ("sambanova:*:meta-llama/Llama-3.3-70B-Instruct:per_token", 0.6, 1.2),
        ("aws:global:anthropic/claude-opus-5-5:per_token", 4, 20),
        ("aws:eu:anthropic/claude-opus-5-5:per_token", 4.4, 22),
        ("gcp:global:google/gemini-3.5-flash:per_token", 1.5, 9),
        ("openai:*:openai/gpt-5.4:per_token", 2.5, 15),
        ("azure:eu:openai/gpt-5.4:per_token", 2.75, 16.5),
        ("deepseek:*:deepseek-ai/DeepSeek-V4-Pro:per_token", 1.32, 3.96),
    ],
)
def test_prices_read_by_hand(name: str, usd_per_million_input: float, usd_per_million_output: float) -> None:
    offer = HOSTED[name]
    assert (offer.usd_per_million_input, offer.usd_per_million_output) == (
        usd_per_million_input,
        usd_per_million_output,
    )
    assert offer.source
    assert offer.as_of


@pytest.mark.parametrize(
    ("host_id", "found"),
    [
        ("fireworks_ai/accounts/fireworks/models/llama-v3p1-70b-instruct", "llama-v3.1-70b-instruct"),
        ("meta.llama3-3-70b-instruct-v1:0", "llama3-3-70b-instruct"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5-20251001"),
        ("vertex_ai/claude-opus-5@default", "claude-opus-5-default"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss-120b-1:0"),
        ("vertex_ai/deepseek-ai/deepseek-v3.2-maas", "deepseek-v3.2"),
        ("deepinfra/meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct"),
    ],
)
def test_a_host_id_loses_the_hosts_own_spelling(host_id: str, found: str) -> None:
    assert key(host_id) == found


@pytest.mark.parametrize(
    ("found", "model"),
    [
        ("claude-opus-5-default", "anthropic/claude-opus-5"),
        ("claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"),
        ("gpt-4o-2024-11-20", "openai/gpt-4o"),
        ("gemini-3.5-flash", "google/gemini-3.5-flash"),
        ("grok-4.6", "xai/grok-4.6"),
        ("gpt-4o-audio-preview", ""),
        ("gpt-5.1-chat-latest", ""),
        ("gemini-2.5-pro-preview-tts", ""),
        ("ft:gpt-4.1", ""),
        ("llama-3.3-70b-instruct", ""),
    ],
)
def test_closed_models_are_told_from_their_variants(found: str, model: str) -> None:
    assert closed_model(found) == model


def test_one_closed_model_is_sold_in_several_places_under_the_clouds_names() -> None:
    assert sellers("anthropic/claude-opus-5-5") == {"anthropic", "aws", "azure", "gcp"}
    assert {"openai", "azure", "aws"} <= sellers("openai/gpt-5.4")


def test_one_open_model_is_gathered_from_many_ids() -> None:
    assert len(sellers("openai/gpt-oss-120b")) >= 15
    assert {"aws", "azure", "oci", "sambanova", "nebius"} <= sellers("meta-llama/Llama-3.3-70B-Instruct")


def test_ended_models_and_moving_aliases_are_left_out() -> None:
    models = {h.model for h in HOSTED.values()}
    assert "openai/o1" not in models  # ended 2026-11-19 at Azure, 2026-10-23 at OpenAI
    assert not [m for m in models if m.endswith(("latest", "audio", "tts", "embedding"))]


def test_resellers_and_government_regions_are_left_out() -> None:
    providers = {h.provider for h in HOSTED.values()}
    assert not providers & {"vercel_ai_gateway", "perplexity", "aihubmix", "github_copilot"}
    assert not [h for h in HOSTED.values() if "gov" in h.region]


def test_prices_are_positive_and_sourced_unless_unproven() -> None:
    for offer in HOSTED.values():
        assert offer.usd_per_million_input > 0
        assert offer.usd_per_million_output > 0
        assert (offer.quality == "unproven") == ("no source given" in offer.source)


@pytest.mark.parametrize(
    ("name", "chip_vendor", "evidence"),
    [
        ("cerebras:*:openai/gpt-oss-120b:per_token", "cerebras", "listed"),
        ("groq:*:openai/gpt-oss-120b:per_token", "groq", "listed"),
        ("gcp:global:google/gemini-3.5-flash:per_token", "google", "listed"),
        ("deepinfra:*:openai/gpt-oss-120b:per_token", "nvidia", "assumed"),
    ],
)
def test_the_chips_a_host_runs_on(name: str, chip_vendor: str, evidence: str) -> None:
    assert (HOSTED[name].chip_vendor, HOSTED[name].chip_vendor_evidence) == (chip_vendor, evidence)


def test_one_host_runs_one_model_on_chips_of_one_vendor() -> None:
    seen: dict[tuple[str, str], set[str]] = {}
    for offer in HOSTED.values():
        seen.setdefault((offer.provider, offer.model), set()).add(offer.chip_vendor)
    assert all(len(vendors) == 1 for vendors in seen.values())


def test_batch_and_cached_prices_never_cost_more() -> None:
    def cheaper(price: float | None, offer: HostedOffer) -> bool:
        return price is None or price <= offer.usd_per_million_input

    dear = [h.id for h in HOSTED.values() if not cheaper(h.usd_per_million_cached_input, h)]
    assert dear == []
    assert all(cheaper(h.usd_per_million_batch_input, h) for h in HOSTED.values())


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("Qwen/Qwen3-32B-FP8", "Qwen/Qwen3-32B"),
        ("nvidia/DeepSeek-V3.2-NVFP4", "deepseek-ai/DeepSeek-V3.2"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b"),
    ],
)
def test_a_quantised_copy_is_sold_under_its_originals_name(name: str, original: str) -> None:
    assert sold_as(name) == original


def test_open_names_are_those_of_the_packaged_models() -> None:
    """A name spelled differently in the two tables would hide a model's hosts: most must be packaged."""
    makers = {"meta-llama", "Qwen", "deepseek-ai", "zai-org", "mistralai", "MiniMaxAI", "moonshotai", "stepfun-ai"}
    names = {h.model for h in HOSTED.values() if h.model.split("/")[0] in makers}
    packaged = Counter(_is_packaged(name) for name in names)
    assert packaged[True] > 3 * packaged[False]


def _is_packaged(name: str) -> bool:
    from polyfleet.catalog.models import known_names

    return name.casefold() in known_names() and find_model(name).name == name
