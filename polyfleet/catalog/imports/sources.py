"""The price lists by name: where each lies and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from polyfleet.catalog.imports import aws_list, aws_savings, azure, gcp, gpuhunt, skypilot, spot_advisor
from polyfleet.catalog.imports.fetch import Fetch, FetchError
from polyfleet.catalog.imports.listed import Listed, Row, Tally
from polyfleet.catalog.imports.place import cells_of
from polyfleet.catalog.imports.spot_advisor import Band
from polyfleet.catalog.imports.stream import read_json
from polyfleet.catalog.reading import did_you_mean
from polyfleet.errors import CatalogError


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask for: of which clouds, in which regions (none = all), on what day; `tell` hears what is being read."""

    today: str
    providers: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda _text: None


@dataclass(slots=True)
class Found:
    """What one list gave: cells of the user's file by offer id, or bands of interruptions with their source and day."""

    name: str
    cells: dict[str, Row] = field(default_factory=dict)
    bands: tuple[Band, ...] = ()
    source: str = ""
    as_of: str = ""
    tally: Tally = field(default_factory=Tally)


def fetch_source(name: str, fetch: Fetch, wanted: Wanted) -> Found:
    """Read a list off the network. Raises CatalogError where it is not whole, or none of its prices is understood."""
    return SOURCES[name](fetch, wanted)


def _skypilot(fetch: Fetch, wanted: Wanted) -> Found:
    tally, prices = Tally(), list[Listed]()
    for cloud in _known(wanted.providers, skypilot.CLOUDS):
        wanted.tell(f"SkyPilot's list of {cloud}")
        try:
            answer = skypilot.fetch_cloud(fetch, cloud)
        except FetchError as error:
            if error.status != 404 or wanted.providers:
                raise
            tally.remarks.append(f"SkyPilot has no list of {cloud} any more ({error.file})")
            continue
        prices += skypilot.read(answer.chunks, cloud, answer.url, answer.dated or wanted.today, tally)
    return Found("skypilot", cells_of(prices, "skypilot", tally), tally=tally)


def _azure(fetch: Fetch, wanted: Wanted) -> Found:
    tally = Tally()
    prices = list[Listed]()
    for url in azure.addresses(wanted.regions):
        wanted.tell("Azure's prices")
        prices += azure.read(azure.fetch_items(fetch, url), wanted.today, tally)
    return Found("azure", cells_of(prices, "azure", tally), tally=tally)


def _aws(fetch: Fetch, wanted: Wanted) -> Found:
    tally, prices = Tally(), list[Listed]()
    for url in aws_list.addresses(fetch, regions=wanted.regions):
        wanted.tell(f"AWS's list {url.rsplit('/', 2)[-2]}")
        prices += aws_list.read(fetch(url).chunks, url, tally)
    return Found("aws", cells_of(prices, "aws", tally), tally=tally)


def _aws_savings(fetch: Fetch, wanted: Wanted) -> Found:
    tally, prices = Tally(), list[Listed]()
    for url in aws_savings.addresses(fetch, regions=wanted.regions):
        wanted.tell(f"AWS's Savings Plans {url.rsplit('/', 2)[-2]}")
        prices += aws_savings.read(fetch(url).chunks, url, tally)
    return Found("aws-savings-plans", cells_of(prices, "aws-savings-plans", tally), tally=tally)


def _spot_advisor(fetch: Fetch, wanted: Wanted) -> Found:
    tally = Tally()
    wanted.tell("AWS's spot advisor")
    answer = fetch(spot_advisor.ADDRESS)
    bands = spot_advisor.read(read_json(answer.chunks, answer.url), tally)
    return Found("spot-advisor", bands=bands, source=answer.url, as_of=answer.dated or wanted.today, tally=tally)


def _gcp(fetch: Fetch, wanted: Wanted) -> Found:
    tally = Tally()
    wanted.tell("Google's billing catalog")
    prices = gcp.read(gcp.fetch_skus(fetch, gcp.api_key()), wanted.today, tally)
    return Found("gcp", cells_of(prices, "gcp", tally), tally=tally)


def _gpuhunt(fetch: Fetch, wanted: Wanted) -> Found:
    tally, prices = Tally(), list[Listed]()
    for provider in _known(wanted.providers, tuple(gpuhunt.PROVIDERS)):
        wanted.tell(f"gpuhunt's list of {provider}")
        try:
            url = gpuhunt.address(fetch, provider)
        except FetchError as error:
            if error.status not in {403, 404} or wanted.providers:
                raise
            tally.remarks.append(f"gpuhunt has no list of {provider} ({error.file})")
            continue
        answer = fetch(url)
        day = gpuhunt.dated(url) or answer.dated or wanted.today
        prices += gpuhunt.read_zip(answer.chunks, answer.url, day, tally, provider)
    return Found("gpuhunt", cells_of(prices, "gpuhunt", tally), tally=tally)


def _known(wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [name for name in wanted if name not in known]:
        raise CatalogError("the list has no such provider", value=unknown[0], hint=did_you_mean(unknown[0], known))
    return wanted or known


SOURCES: Mapping[str, Callable[[Fetch, Wanted], Found]] = {
    "skypilot": _skypilot,
    "azure": _azure,
    "aws": _aws,
    "aws-savings-plans": _aws_savings,
    "spot-advisor": _spot_advisor,
    "gcp": _gcp,
    "gpuhunt": _gpuhunt,
}
