from collections import defaultdict
from math import exp, log
from statistics import median

import pytest

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.offers import load_offers, offer_id
from polyfleet.terms.offer import Offer, Purchase

OFFERS = {offer.id: offer for offer in load_offers()}


def starting(prefix: str) -> list[Offer]:
    return [offer for name, offer in OFFERS.items() if name.startswith(prefix)]


def test_ids_are_unique_and_told_by_the_offer() -> None:
    assert len(OFFERS) == len(load_offers())
    assert all(o.id == offer_id(o.provider, o.region, o.instance_type, o.purchase) for o in load_offers())


@pytest.mark.parametrize(
    ("name", "usd_per_hour", "chips_of", "dated"),
    [  # read off the raw price lists by hand
        ("aws:us-east-1:p5.48xlarge:on_demand", 55.04, (8, "H100-SXM"), ("2026-01-21", "exact")),
        ("aws:us-east-1:p5.48xlarge:capacity_block", 31.464, (8, "H100-SXM"), ("2026-02-01", "exact")),
        ("aws:us-east-2:trn2.48xlarge:capacity_block", 35.7608, (16, "Trainium2"), ("2026-02-01", "exact")),
        ("aws:us-east-1:trn1.32xlarge:reserved_1y", 13.22895, (16, "Trainium1"), ("2026-01-21", "exact")),
        ("azure:southcentralus:Standard_NC16ads_A10_v4:on_demand", 2.64, (1, "A10"), ("2026-05-20", "exact")),
        ("gcp:us-central1:ct5lp-hightpu-8t:on_demand", 9.6, (8, "TPU-v5e"), ("2026-05-20", "exact")),
        ("gcp:us-central1:ct5lp-hightpu-8t:reserved_3y", 4.32, (8, "TPU-v5e"), ("", "undated")),
        ("gcp:asia-east1:a3-highgpu-1g:spot", 5.999789, (1, "H100-SXM"), ("2026-07-30", "exact")),
        ("oci:*:BM.GPU.MI355X.8:on_demand", 68.8, (8, "MI355X"), ("", "undated")),
        ("lambda:*:gpu_8x_h100_sxm5:on_demand", 31.92, (8, "H100-SXM"), ("2026-05-07", "exact")),
        ("nebius:eu-north1:gpu-h200-sxm_8gpu-128vcpu-1600gb:spot", 11.6, (8, "H200-SXM"), ("2026-01-22", "approx")),
        ("hyperstack:CANADA-1:n3-H100-SXM5x8:on_demand", 19.2, (8, "H100-SXM"), ("", "undated")),
    ],
)
def test_prices_read_by_hand(name: str, usd_per_hour: float, chips_of: tuple[int, str], dated: tuple[str, str]) -> None:
    offer = OFFERS[name]
    assert (offer.usd_per_hour, (offer.chips, offer.chip)) == (usd_per_hour, chips_of)
    assert (offer.as_of, offer.quality) == dated
    assert offer.source


def test_small_gcp_h100_sizes_are_sold_as_spot_only() -> None:
    small = [o for o in starting("gcp:") if o.instance_type in ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g")]
    assert {o.purchase for o in small} == {Purchase.SPOT}


@pytest.mark.parametrize("region", ["europe-north1", "australia-southeast2"])
def test_suspicious_gcp_h100_spot_prices_are_left_out(region: str) -> None:
    assert not [o for o in starting(f"gcp:{region}:a3-highgpu") if o.purchase is Purchase.SPOT]


def test_no_spot_price_equals_on_demand() -> None:
    for offer in OFFERS.values():
        on_demand = OFFERS.get(offer.id.replace(":spot", ":on_demand"))
        if offer.purchase is Purchase.SPOT and on_demand:
            assert offer.usd_per_hour < 0.95 * on_demand.usd_per_hour, offer.id


def test_a_longer_term_is_cheaper() -> None:
    for offer in OFFERS.values():
        if offer.purchase.committed and (on_demand := OFFERS.get(offer_id(*offer.id.split(":")[:3], "on_demand"))):
            assert offer.usd_per_hour < on_demand.usd_per_hour, offer.id


def test_one_trainium2_costs_what_a_sixteenth_of_sixteen_costs() -> None:
    block = {o.instance_type: o.usd_per_hour / o.chips for o in OFFERS.values() if o.chip == "Trainium2"}
    assert block["trn2.3xlarge"] == pytest.approx(2.2351, abs=1e-3)
    assert not [o for o in starting("aws:") if o.instance_type == "trn2.3xlarge" and o.purchase is Purchase.SPOT]


def test_crusoe_is_priced_by_the_instance() -> None:
    offer = OFFERS["crusoe:*:8x H100-SXM:on_demand"]
    assert (offer.chips, offer.usd_per_hour) == (8, pytest.approx(8 * 3.90))
    assert OFFERS["crusoe:*:1x L40S:on_demand"].usd_per_hour == 1.0
    assert "crusoe:*:8x MI300X:spot" not in OFFERS  # two sources disagree


def test_no_fraction_of_a_gpu_is_offered() -> None:
    assert not [o for o in OFFERS.values() if o.instance_type in ("Standard_NV6ads_A10_v5", "g4-standard-12")]
    assert not [o for o in OFFERS.values() if o.instance_type == "Standard_NC8ads_A10_v4"]
    assert all(o.chips >= 1 for o in OFFERS.values())


def test_government_regions_and_edge_zones_are_left_out() -> None:
    rented = [o for o in starting("aws:") if o.purchase is not Purchase.CAPACITY_BLOCK]
    assert not [o.region for o in rented if "gov" in o.region or o.region.count("-") > 2]


def test_suspicious_azure_gb200_is_left_out() -> None:
    assert {o.provider for o in OFFERS.values() if o.chip == "GB200"} == {"aws", "oci", "spheron"}


def test_gcp_prices_include_the_machine() -> None:
    small, large = (OFFERS[f"gcp:us-central1:g2-standard-{n}:on_demand"] for n in (4, 32))
    assert small.chips == large.chips == 1
    # 28 more cores and 112 GiB at Google's listed G2 rates of 0.0250 a core and 0.0029 a GiB.
    assert large.usd_per_hour - small.usd_per_hour == pytest.approx(28 * 0.02499 + 112 * 0.00293, rel=0.02)


def test_listed_prices_of_one_size_do_not_differ_wildly_between_regions() -> None:
    groups: dict[tuple[str, str], list[Offer]] = defaultdict(list)
    for offer in OFFERS.values():
        if offer.purchase is not Purchase.SPOT and offer.quality != "unproven":
            groups[offer.provider, f"{offer.instance_type} {offer.purchase}"].append(offer)
    for group in groups.values():
        middle = median(o.usd_per_hour for o in group)
        assert all(middle / 2.5 <= o.usd_per_hour <= middle * 2.5 for o in group), group[0].id


def test_spot_interruptions_follow_the_band() -> None:
    often, seldom = (OFFERS[f"aws:us-east-1:{size}:spot"] for size in ("p5.48xlarge", "trn1.32xlarge"))
    assert often.interruptions_per_month == pytest.approx(-log(1 - 0.25), abs=1e-5)
    assert ">20%" in often.note
    assert seldom.interruptions_per_month is not None
    assert 1 - exp(-seldom.interruptions_per_month) == pytest.approx(0.025, abs=1e-5)
    assert {o.purchase for o in OFFERS.values() if o.interruptions_per_month is not None} == {Purchase.SPOT}


@pytest.mark.parametrize(
    ("name", "domain_chips", "link_gb_s"),
    [
        ("gcp:us-central1:a2-megagpu-16g:on_demand", 16, 300),
        ("aws:us-east-1:p5.48xlarge:on_demand", 8, 450),
        ("aws:us-east-1:g6e.48xlarge:on_demand", 8, 32),  # no NVLink: PCIe joins all eight
        ("azure:eastus:Standard_NC96ads_A100_v4:on_demand", 2, 300),
        ("hyperstack:CANADA-1:n3-A100x8:on_demand", 8, 32),
        ("hyperstack:CANADA-1:n3-A100x8-NVLink:on_demand", 2, 300),
        ("oci:*:BM.GPU.GB200.4:on_demand", 72, 900),
        ("lambda:*:gpu_4x_a100:on_demand", 4, 32),
    ],
)
def test_interconnect(name: str, domain_chips: int, link_gb_s: float) -> None:
    assert (OFFERS[name].domain_chips, OFFERS[name].link_gb_s) == (domain_chips, link_gb_s)


def test_undated_prices_are_never_called_exact() -> None:
    assert all(bool(o.as_of) == (o.quality != "undated") for o in OFFERS.values() if o.quality != "unproven")
    assert {o.quality for o in OFFERS.values() if not o.as_of} == {"undated", "unproven"}


def test_every_offer_names_a_known_chip_and_its_vendor() -> None:
    for offer in OFFERS.values():
        assert load_chips()[offer.chip].vendor == offer.chip_vendor
        assert offer.continent
        assert offer.jurisdiction
        assert offer.usd_per_hour > 0
