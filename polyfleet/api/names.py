"""Names that a policy uses, as the catalog spells them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.reading import did_you_mean
from polyfleet.catalog.regions import check_region
from polyfleet.catalog.search import find_provider, find_rented_chip
from polyfleet.catalog.store import Catalog
from polyfleet.errors import CatalogError, InputError, SpecError
from polyfleet.terms.spec import Exclude
from polyfleet.terms.spec_text import SpecSource


def canonical(source: SpecSource, catalog: Catalog) -> SpecSource:
    """The spec with the policy's names as the catalog spells them. A name that nothing has is an error: a misspelt one
    would be a limit on nothing.

    Raises CatalogError with the spec's line and the closest names, SpecError where two spellings of one name clash.
    """
    policy, names = source.spec.policy, _Names(source, catalog)
    names.located(names.region, policy.regions, "regions")
    update = {"quotas": _quotas(names), "exclude": _exclude(names, policy.exclude)}
    spec = source.spec.model_copy(update={"policy": policy.model_copy(update=update)})
    return replace(source, spec=spec)


@dataclass(frozen=True, slots=True)
class _Names:
    """Finds names in the catalog; a name it does not have is an error at the spec's line."""

    source: SpecSource
    catalog: Catalog

    def located(self, find: Callable[[str], str], names: Iterable[str], *path: str) -> tuple[str, ...]:
        """The names of a list in the policy."""
        return tuple(self.one(find, name, *path, i) for i, name in enumerate(names))

    def keyed(self, find: Callable[[str], str], values: dict[str, Any], *path: str) -> dict[str, Any]:
        """The keys of a mapping in the policy, each with the key as it is written and its value."""
        found: dict[str, Any] = {}
        for written, value in values.items():
            name = self.one(find, written, *path, written)
            if name in found:
                line = self.source.line_of("policy", *path, written)
                raise SpecError(
                    f"`policy.{'.'.join(path)}` names {name} twice", file=self.source.file, line=line, value=written,
                    hint=f"it stands there as {found[name][0]!r} too; keep one of them",
                )  # fmt: skip
            found[name] = (written, value)
        return found

    def one(self, find: Callable[[str], str], name: str, *path: str | int) -> str:
        try:
            return find(name)
        except InputError as error:
            raise error.at(self.source.file, self.source.line_of("policy", *path)) from None

    def chip(self, name: str) -> str:
        return find_chip(name).name

    def provider(self, name: str) -> str:
        return find_provider(self.catalog, name)

    def region(self, name: str) -> str:
        check_region(name, {offer.region for offer in self.catalog.offers})
        return name

    def vendor(self, name: str) -> str:
        rented, sold = self.catalog.offers, self.catalog.hosted
        return _one_of("chip vendor", name, {o.chip_vendor for o in rented} | {h.chip_vendor for h in sold})

    def instance_type(self, name: str) -> str:
        return _one_of("instance type", name, {offer.instance_type for offer in self.catalog.offers})


def _quotas(names: _Names) -> dict[str, dict[str, int]]:
    """Quotas by provider and chip. One on a chip that the provider does not rent would be a limit on nothing."""
    found: dict[str, dict[str, int]] = {}
    for provider, (written, by_chip) in names.keyed(names.provider, names.source.spec.policy.quotas, "quotas").items():
        rented = names.keyed(partial(find_rented_chip, names.catalog, provider), by_chip, "quotas", written)
        found[provider] = {chip: most for chip, (_, most) in rented.items()}
    return found


def _exclude(names: _Names, out: Exclude) -> Exclude:
    find = {
        "chip": names.chip, "provider": names.provider, "chip_vendor": names.vendor,
        "instance_type": names.instance_type,
    }  # fmt: skip
    return out.model_copy(
        update={kind: names.located(find[kind], getattr(out, kind), "exclude", kind) for kind in find}
    )


def _one_of(kind: str, name: str, known: set[str]) -> str:
    by_lower = {k.casefold(): k for k in known}
    if name.casefold() not in by_lower:
        raise CatalogError(f"unknown {kind}", value=name, hint=did_you_mean(name, known))
    return by_lower[name.casefold()]
