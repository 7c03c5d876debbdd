"""What is refused before anything is rented, each in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sky_toys import offer, replica_spec

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.driver import SkyDriver
from polyfleet.launch.sky.fake import FakeSky
from polyfleet.terms.fleet import PricedOffer

Make = Callable[[], SkyDriver]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame")


def test_what_can_be_rented_passes_and_nothing_is_touched(driver: SkyDriver, sky: FakeSky) -> None:
    driver.check([replica_spec(), replica_spec("chat-1")])
    assert (sky.clusters, sky.launches()) == ({}, [])
    assert sky.calls.count("price") == 1, "the same machine is asked about once"


def test_open_ports_without_a_key_are_refused(driver: SkyDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY")
    with pytest.raises(LaunchError, match=r"set VLLM_API_KEY: .*open to the world"):
        driver.check([replica_spec()])


def test_a_cloud_without_credentials_is_named(driver: SkyDriver, sky: FakeSky) -> None:
    sky.enabled = set()
    with pytest.raises(LaunchError, match=r"chat-0: SkyPilot has no credentials for aws, of the offer .*sky check aws"):
        driver.check([replica_spec()])


def test_a_machine_that_skypilot_does_not_know_is_named(driver: SkyDriver) -> None:
    spec = replica_spec(offers=(offer("m6i.nope"), offer()))
    with pytest.raises(LaunchError, match=r"aws:us-east-1:m6i.nope:on_demand: no such machine: .*catalog refresh"):
        driver.check([spec])


def test_what_an_offer_might_be_replaced_by_stops_nothing(driver: SkyDriver) -> None:
    asked = '{"infra": "nebius/eu-north1", "instance_type": "gpu-h100"}'
    elsewhere = PricedOffer(offer="nebius", usd_per_hour=1.0, resources=asked)
    driver.check([replica_spec(offers=(offer(), offer("m6i.nope"), elsewhere))])


def test_an_offer_without_resources_and_a_replica_without_offers_are_refused(driver: SkyDriver) -> None:
    broken = PricedOffer(offer="aws:x", usd_per_hour=1.0, resources="not JSON")
    with pytest.raises(LaunchError, match="the offer aws:x says no resources; run `polyfleet up` again"):
        driver.check([replica_spec(offers=(broken,))])
    with pytest.raises(LaunchError, match="chat-0: the plan names no offer"):
        driver.check([replica_spec().model_copy(update={"offers": ()})])


def test_skypilot_away_is_said(driver: SkyDriver, sky: FakeSky) -> None:
    sky.away = True
    with pytest.raises(LaunchError, match="sky: away"):
        driver.check([replica_spec()])
    sky.away = False
