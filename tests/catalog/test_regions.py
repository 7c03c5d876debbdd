import pytest

from polyfleet.catalog.hosted import load_hosted
from polyfleet.catalog.offers import load_offers
from polyfleet.catalog.regions import load_blocks, load_regions, matches_region
from polyfleet.errors import CatalogError

OFFERS = {offer.id: offer for offer in load_offers()}
FRANKFURT = OFFERS["aws:eu-central-1:g6.xlarge:on_demand"]
ZURICH = OFFERS["azure:switzerlandnorth:Standard_ND96amsr_A100_v4:on_demand"]
ANYWHERE = OFFERS["lambda:*:gpu_8x_h100_sxm5:on_demand"]


@pytest.mark.parametrize(
    "wanted",
    [
        "eu",
        "EU",
        "de",
        "Germany",
        "eu-central-1",
        "aws:eu-central-1",
        "europe",
        "EMEA",
        "European Union and EEA",
    ],
)
def test_a_region_is_wanted_under_many_names(wanted: str) -> None:
    assert matches_region(FRANKFURT, wanted)


@pytest.mark.parametrize("wanted", ["us", "uk", "france", "eu-west-1", "azure:eastus", "asia", "eea"])
def test_a_region_is_not_what_it_is_not(wanted: str) -> None:
    assert not matches_region(FRANKFURT, wanted)


def test_switzerland_and_britain_are_europe_but_not_eu() -> None:
    assert matches_region(ZURICH, "europe")
    assert not matches_region(ZURICH, "eu")
    london = OFFERS["aws:eu-west-2:g4dn.xlarge:on_demand"]
    assert matches_region(london, "uk")
    assert not matches_region(london, "eu")


def test_norway_has_its_own_law_inside_the_block() -> None:
    oslo = next(o for o in load_offers() if o.region == "norwayeast")
    assert matches_region(oslo, "eu")
    assert matches_region(oslo, "eea")


def test_sa_is_south_america_not_saudi_arabia() -> None:
    dammam = next(o for o in load_offers() if o.region == "me-central2")
    assert not matches_region(dammam, "sa")
    assert matches_region(dammam, "Saudi Arabia")
    assert matches_region(dammam, "me")


def test_a_price_without_a_region_lies_where_its_provider_works() -> None:
    assert matches_region(ANYWHERE, "us")
    assert matches_region(ANYWHERE, "eu")
    assert not matches_region(ANYWHERE, "sa")


def test_a_global_endpoint_keeps_no_data_in_any_block() -> None:
    served_anywhere = next(h for h in load_hosted() if h.provider == "gcp" and h.region == "global")
    assert not matches_region(served_anywhere, "eu")
    assert not matches_region(served_anywhere, "us")
    assert matches_region(served_anywhere, "global")


def test_an_unknown_region_names_the_closest() -> None:
    with pytest.raises(CatalogError, match=r"unknown region \(got 'us-est-1'\); did you mean .*us-?east-?1"):
        matches_region(FRANKFURT, "us-est-1")


def test_a_region_of_the_users_own_is_known_when_told() -> None:
    assert not matches_region(FRANKFURT, "our-hall", also_known=["our-hall"])


def test_every_region_lies_in_a_known_block() -> None:
    continents = frozenset().union(*load_blocks().values())
    for row in load_regions().values():
        assert set(row["continent"].split("+")) <= continents
    for offer in (*load_offers(), *load_hosted()):
        assert set(offer.continent.split("+")) <= continents
