"""Names that a policy uses, as the catalog spells them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.reading import did_you_mean
from polyfleet.catalog.regions import check_region
from polyfleet.catalog.search import find_provider
from polyfleet.catalog.store import Catalog
from polyfleet.errors import CatalogError, InputError
from polyfleet.terms.spec_text import SpecSource


def canonical(source: SpecSource, catalog: Catalog) -> SpecSource:
    """The spec with the policy's names as the catalog spells them. A name that nothing has is an error: a misspelt one
    would be a limit on nothing.

    Raises CatalogError with the spec's line and the closest names.
    """

    def located(find: Callable[[str], str], name: str, *path: str) -> str:
        try:
            return find(name)
        except InputError as error:
            raise error.at(source.file, source.line_of("policy", *path)) from None

    def chip(name: str) -> str:
        return find_chip(name).name

    def provider(name: str) -> str:
        return find_provider(catalog, name)

    def region(name: str) -> str:
        check_region(name, {offer.region for offer in catalog.offers})
        return name

    policy = source.spec.policy
    quotas = {
        located(provider, p, "quotas", p): {located(chip, c, "quotas", p, c): most for c, most in held.items()}
        for p, held in policy.quotas.items()
    }
    out = policy.exclude
    exclude = out.model_copy(
        update={
            "chip": tuple(located(chip, name, "exclude", "chip") for name in out.chip),
            "provider": tuple(located(provider, name, "exclude", "provider") for name in out.provider),
            "chip_vendor": tuple(
                located(partial(_vendor, catalog), n, "exclude", "chip_vendor") for n in out.chip_vendor
            ),
            "instance_type": tuple(
                located(partial(_instance_type, catalog), n, "exclude", "instance_type") for n in out.instance_type
            ),
        }
    )
    for name in policy.regions:
        located(region, name, "regions")
    spec = source.spec.model_copy(update={"policy": policy.model_copy(update={"quotas": quotas, "exclude": exclude})})
    return replace(source, spec=spec)


def _vendor(catalog: Catalog, name: str) -> str:
    return _one_of(
        "chip vendor", name, {o.chip_vendor for o in catalog.offers} | {h.chip_vendor for h in catalog.hosted}
    )


def _instance_type(catalog: Catalog, name: str) -> str:
    return _one_of("instance type", name, {offer.instance_type for offer in catalog.offers})


def _one_of(kind: str, name: str, known: set[str]) -> str:
    by_lower = {k.casefold(): k for k in known}
    if name.casefold() not in by_lower:
        raise CatalogError(f"unknown {kind}", value=name, hint=did_you_mean(name, known))
    return by_lower[name.casefold()]
