"""Where a provider's region lies: block of the world, country, law; and whether an offer lies where the user wants."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from types import MappingProxyType
from typing import Protocol

from polyfleet.catalog.reading import Row, did_you_mean, read_table
from polyfleet.catalog.spelling import squeezed
from polyfleet.errors import CatalogError


class Placed(Protocol):
    """Anything with a place: an Offer or a HostedOffer."""

    @property
    def provider(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def continent(self) -> str: ...
    @property
    def jurisdiction(self) -> str: ...


@cache
def load_regions() -> Mapping[tuple[str, str], Row]:
    """Rows (continent, country, country_name, jurisdiction, note) by (provider, region).

    Region `*` is a global list price whose region is not told; its `continent` joins with `+` all blocks in which the
    provider operates.
    """
    return MappingProxyType({(row["provider"], row["region"]): row for row in read_table("regions.csv")})


@cache
def load_blocks() -> Mapping[str, frozenset[str]]:
    """Continents in each named block: `eu` (EU and EEA), `uk`, `ch`, `us`, ..., and the wide `europe`, `emea`, ..."""
    rows = read_table("blocks.csv")
    blocks = {squeezed(row["block"]): frozenset(row["continents"].split()) for row in rows}
    return MappingProxyType(blocks | {squeezed(row["name"]): frozenset(row["continents"].split()) for row in rows})


def matches_region(offer: Placed, wanted: str, also_known: Collection[str] = ()) -> bool:
    """Whether an offer lies in `wanted`: a block or continent (`eu`), a country (`de`, `Germany`), a jurisdiction
    (`eea`), a region's name (`us-east-1`) or `provider:region`. A block is tried first (`sa` = South America).

    `also_known` names regions that only the user's own offers have. Raises CatalogError with the closest names where
    nobody knows such a place.
    """
    check_region(wanted, also_known)
    name = squeezed(wanted)
    if name in load_blocks():
        return not load_blocks()[name].isdisjoint(offer.continent.split("+"))
    return name in _own(offer)


def check_region(wanted: str, also_known: Collection[str] = ()) -> None:
    """Raises CatalogError with the closest names where nobody knows such a place."""
    name = squeezed(wanted)
    if name not in load_blocks() and name not in _known() and name not in {squeezed(place) for place in also_known}:
        raise CatalogError("unknown region", value=wanted, hint=did_you_mean(wanted, _places()))


def _own(offer: Placed) -> frozenset[str]:
    row = load_regions().get((offer.provider, offer.region))
    country = (row["country"], row["country_name"]) if row else ()
    names = (offer.region, f"{offer.provider}:{offer.region}", *offer.jurisdiction.split("+"), *country)
    return frozenset(squeezed(n) for n in names if n)


@cache
def _places() -> tuple[str, ...]:
    names = {row["block"] for row in read_table("blocks.csv")}
    for row in load_regions().values():
        names.update((row["region"], row["country"], row["country_name"], f"{row['provider']}:{row['region']}"))
        names.update(row["jurisdiction"].split("+"))
    return tuple(sorted(names - {"", "*"}))


@cache
def _known() -> frozenset[str]:
    return frozenset(squeezed(place) for place in _places())
