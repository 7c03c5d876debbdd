"""Looking things up in the catalog, as `polyfleet catalog` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.hosted import sold_as
from polyfleet.catalog.models import known_names, model_aliases, model_rows
from polyfleet.catalog.reading import did_you_mean
from polyfleet.catalog.regions import matches_region
from polyfleet.catalog.spelling import closest, squeezed
from polyfleet.catalog.store import Catalog
from polyfleet.errors import CatalogError
from polyfleet.terms.chip import Chip
from polyfleet.terms.offer import HostedOffer, Offer


@dataclass(frozen=True, slots=True)
class Filters:
    """What to leave in; None = anything. `chip` leaves rented offers, `model` offers by the token."""

    chip: str | None = None
    provider: str | None = None
    region: str | None = None
    model: str | None = None

    @property
    def any(self) -> bool:
        return any((self.chip, self.provider, self.region, self.model))


@dataclass(frozen=True, slots=True)
class SoldModel:
    """A model sold by the token: by whom, and its lowest listed prices in USD per million tokens."""

    name: str
    providers: tuple[str, ...]
    lowest_usd_per_million_input: float
    lowest_usd_per_million_output: float


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom one can buy from: what it rents, what it hosts, and when its prices were read (empty = undated)."""

    name: str
    rented_offers: int
    hosted_offers: int
    chips: tuple[str, ...]
    as_of: tuple[str, str]


def find_offers(catalog: Catalog, filters: Filters) -> tuple[Offer | HostedOffer, ...]:
    """Rented offers by price per chip-hour, then hosted ones by price per output token.

    Raises CatalogError with the closest names where a filter names nothing that the catalog knows; so do the others.
    """
    rented, hosted = _filtered(catalog, filters)
    rented.sort(key=lambda o: (o.usd_per_hour / o.chips, o.id))
    hosted.sort(key=lambda h: (h.usd_per_million_output, h.id))
    return (*rented, *hosted)


def find_chips(catalog: Catalog, filters: Filters) -> tuple[Chip, ...]:
    """Chips in the table's order; with a provider or a region, those that can be rented there."""
    if filters.provider or filters.region:
        names = {o.chip for o in _filtered(catalog, filters)[0]}
        return tuple(c for c in catalog.chips.values() if c.name in names)
    return (find_chip(filters.chip),) if filters.chip else tuple(catalog.chips.values())


def find_sold_models(catalog: Catalog, filters: Filters) -> tuple[SoldModel, ...]:
    """Models sold by the token, a quantised copy under its original's name."""
    groups: dict[str, list[HostedOffer]] = {}
    for offer in _filtered(catalog, filters)[1]:
        groups.setdefault(offer.model, []).append(offer)
    return tuple(
        SoldModel(
            name,
            tuple(sorted({o.provider for o in groups[name]})),
            min(o.usd_per_million_input for o in groups[name]),
            min(o.usd_per_million_output for o in groups[name]),
        )
        for name in sorted(groups)
    )


def find_providers(catalog: Catalog, filters: Filters) -> tuple[Provider, ...]:
    """Providers by name, with what the filters leave of their offers."""
    rented, hosted = _filtered(catalog, filters)
    found = []
    for name in sorted(_providers_of(rented, hosted)):
        own, sold = [o for o in rented if o.provider == name], [h for h in hosted if h.provider == name]
        dates = sorted(({o.as_of for o in own} | {h.as_of for h in sold}) - {""})
        span = (dates[0], dates[-1]) if dates else ("", "")
        found.append(Provider(name, len(own), len(sold), tuple(sorted({o.chip for o in own})), span))
    return tuple(found)


def find_provider(catalog: Catalog, name: str) -> str:
    """The provider's name as the catalog spells it. Raises CatalogError with the closest names."""
    return _known("provider", name, _providers_of(catalog.offers, catalog.hosted))


def find_rented_chip(catalog: Catalog, provider: str, name: str) -> str:
    """A chip's canonical name, by name or alias. Raises CatalogError where the provider rents no such chip."""
    chip = find_chip(name).name
    rents = sorted({o.chip for o in catalog.offers if o.provider == provider})
    if chip in rents:
        return chip
    if not rents:
        raise CatalogError(f"{provider} rents no chips", value=name, hint="it sells models by the token")
    near = closest(chip, rents)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise CatalogError(f"{provider} rents no {chip}", value=name, hint=f"{meant}it rents {', '.join(rents)}")


def _filtered(catalog: Catalog, filters: Filters) -> tuple[list[Offer], list[HostedOffer]]:
    rented, hosted = list(catalog.offers), list(catalog.hosted)
    if filters.chip:
        name = find_chip(filters.chip).name
        rented, hosted = [o for o in rented if o.chip == name], []
    if filters.model:
        name = _model_name(catalog, filters.model)
        hosted = [h for h in hosted if h.model == sold_as(name)]
        rented = []
    if filters.provider:
        name = find_provider(catalog, filters.provider)
        rented, hosted = [o for o in rented if o.provider == name], [h for h in hosted if h.provider == name]
    if filters.region:
        rented = [o for o in rented if matches_region(o, filters.region)]
        hosted = [h for h in hosted if matches_region(h, filters.region)]
    return rented, hosted


# How people call a provider that the tables know by a shorter name: a hint only, since some sell other things too.
_SPOKEN = {
    "aws": ("amazon", "amazonwebservices", "bedrock"), "gcp": ("google", "googlecloud", "vertex", "vertexai"),
    "azure": ("microsoft", "foundry"), "oci": ("oracle", "oraclecloud"), "zai": ("zhipu", "z.ai"),
    "ovhcloud": ("ovh",), "wandb": ("weightsandbiases",), "xai": ("grok",),
}  # fmt: skip


def _known(kind: str, wanted: str, names: Iterable[str]) -> str:
    by_name = {squeezed(n): n for n in names}
    if squeezed(wanted) not in by_name:
        spoken = [name for name, calls in _SPOKEN.items() if squeezed(wanted) in calls and name in by_name]
        if kind == "provider" and spoken:
            raise CatalogError(f"unknown {kind}", value=wanted, hint=f"did you mean {spoken[0]}?")
        raise CatalogError(f"unknown {kind}", value=wanted, hint=did_you_mean(wanted, by_name.values()))
    return by_name[squeezed(wanted)]


def _model_name(catalog: Catalog, wanted: str) -> str:
    names = {*model_rows(), *model_aliases(), *(h.model for h in catalog.hosted)}
    return known_names().get(wanted.casefold()) or _known("model", wanted, names)


def _providers_of(rented: Sequence[Offer], hosted: Sequence[HostedOffer]) -> set[str]:
    return {o.provider for o in rented} | {h.provider for h in hosted}
