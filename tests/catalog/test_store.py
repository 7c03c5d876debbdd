import pickle
from pathlib import Path

import pytest

from polyfleet.catalog.search import Filters, Provider, find_chips, find_offers, find_providers, find_sold_models
from polyfleet.catalog.store import load_catalog
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import HostedOffer, Offer

LISTED = "aws:us-east-1:p5.48xlarge:on_demand"
CATALOG = load_catalog()


def overlay(folder: Path, price: float) -> Path:
    path = folder / f"own-{price}.csv"
    path.write_text(f"id,usd_per_hour\n{LISTED},{price}\n")
    return path


def test_unproven_offers_come_only_when_asked_for() -> None:
    everything = load_catalog(include_unproven=True)
    assert not [o.id for o in (*CATALOG.offers, *CATALOG.hosted) if o.quality == "unproven"]
    assert len(everything.offers) - len(CATALOG.offers) == 10
    assert {"tensorwave", "vultr"} <= {o.provider for o in everything.offers} - {o.provider for o in CATALOG.offers}


def test_the_last_overlay_lies_on_top(tmp_path: Path) -> None:
    low, high = overlay(tmp_path, 30.0), overlay(tmp_path, 50.0)
    for files, price in (((low,), 30.0), ((high, low), 30.0), ((low, high), 50.0)):
        (own,) = [o for o in load_catalog(files).offers if o.id == LISTED]
        assert own.usd_per_hour == price


def test_the_digest_tells_what_the_catalog_was_read_from(tmp_path: Path) -> None:
    low, high = overlay(tmp_path, 30.0), overlay(tmp_path, 50.0)
    catalogs = [load_catalog(), load_catalog([low]), load_catalog([high]), load_catalog([low, high])]
    catalogs.append(load_catalog(include_unproven=True))
    assert len({c.digest for c in catalogs}) == 5
    assert load_catalog([low]).digest == load_catalog([low]).digest
    assert len(CATALOG.digest) == 64


def test_a_catalog_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(CATALOG)) == CATALOG


def test_the_span_of_dates_is_that_of_the_dated_prices() -> None:
    oldest, newest = CATALOG.as_of
    dates = sorted(o.as_of for o in CATALOG.offers if o.as_of)
    assert oldest == dates[0]
    assert newest >= dates[-1]


def test_a_quantised_copy_finds_the_hosts_of_its_original() -> None:
    assert CATALOG.sold("Qwen/Qwen3-32B-FP8") == CATALOG.sold("Qwen/Qwen3-32B") != ()
    assert CATALOG.sold("my-own/model") == ()


def test_offers_are_found_by_chip_and_place_cheapest_first() -> None:
    found = find_offers(CATALOG, Filters(chip="mi300x", region="us"))
    prices = [o.usd_per_hour / o.chips for o in found if isinstance(o, Offer)]
    assert len(prices) == len(found) > 0
    assert prices == sorted(prices)
    assert {o.chip for o in found if isinstance(o, Offer)} == {"MI300X"}
    assert all("us" in o.continent.split("+") for o in found)


def test_offers_of_a_model_are_those_by_the_token() -> None:
    found = find_offers(CATALOG, Filters(model="openai/gpt-oss-120b", provider="aws"))
    assert [type(o) for o in found] == [HostedOffer]
    assert set(find_offers(CATALOG, Filters(model="gpt-oss-120b"))) == set(CATALOG.sold("openai/gpt-oss-120b"))


def test_chips_are_those_a_provider_rents() -> None:
    assert {c.vendor for c in find_chips(CATALOG, Filters(provider="gcp"))} == {"nvidia", "google"}
    assert [c.name for c in find_chips(CATALOG, Filters(chip="h100"))] == ["H100-SXM"]
    assert len(find_chips(CATALOG, Filters())) == len(CATALOG.chips)


def test_models_tell_who_sells_them_and_for_how_little() -> None:
    (closed,) = find_sold_models(CATALOG, Filters(model="anthropic/claude-opus-5"))
    assert (closed.lowest_usd_per_million_input, closed.lowest_usd_per_million_output) == (5, 25)
    (copy,) = find_sold_models(CATALOG, Filters(model="Qwen/Qwen3-32B-FP8"))
    assert copy.name == "Qwen/Qwen3-32B"
    assert "aws" in copy.providers
    assert find_sold_models(CATALOG, Filters(model="bigscience/bloom")) == ()
    assert {m.name for m in find_sold_models(CATALOG, Filters(provider="anthropic"))} == {
        h.model for h in CATALOG.hosted if h.provider == "anthropic"
    }


def test_providers_sum_up_the_catalog() -> None:
    found = find_providers(CATALOG, Filters())
    assert sum(p.rented_offers for p in found) == len(CATALOG.offers)
    assert sum(p.hosted_offers for p in found) == len(CATALOG.hosted)
    (oci,) = find_providers(CATALOG, Filters(provider="OCI"))
    assert isinstance(oci, Provider)
    assert "MI355X" in oci.chips


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"chip": "H1000"}, r"unknown chip .*did you mean"),
        ({"provider": "azur"}, r"unknown provider \(got 'azur'\); did you mean azure\?"),
        ({"region": "middle-earth"}, "unknown region"),
        ({"model": "llama-3.3"}, r"unknown model .*did you mean meta-llama/Llama-3\.3-70B-Instruct"),
    ],
)
def test_a_filter_that_names_nothing_is_refused(wanted: dict[str, str], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        find_offers(CATALOG, Filters(**wanted))
