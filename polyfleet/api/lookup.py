"""Looking things up: the catalog's tables and the documents' schemas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Table = Literal["offers", "chips", "models", "providers"]


def search_catalog(
    what: Table,
    *,
    chip: str | None = None,
    provider: str | None = None,
    region: str | None = None,
    model: str | None = None,
    overlays: Sequence[Path] = (),
    unproven: bool = False,
) -> tuple[Any, ...]:
    """Rows of a catalog table that the filters leave: `Offer` and `HostedOffer`, `Chip`, `ListedModel`, `Provider`.

    Raises CatalogError with the closest names where a filter names nothing known.
    """
    from polyfleet.catalog.listing import find_models
    from polyfleet.catalog.search import Filters, find_chips, find_offers, find_providers
    from polyfleet.catalog.store import load_catalog

    catalog = load_catalog(overlays, include_unproven=unproven)
    filters = Filters(chip, provider, region, model)
    if what == "offers":
        return find_offers(catalog, filters)
    if what == "chips":
        return find_chips(catalog, filters)
    return find_models(catalog, filters) if what == "models" else find_providers(catalog, filters)


def json_schema(document: Literal["spec", "plan"]) -> dict[str, Any]:
    """The JSON Schema of a document."""
    if document == "spec":
        from polyfleet.terms.spec import Spec

        return Spec.model_json_schema()
    from polyfleet.terms.plan import Plan

    return Plan.model_json_schema()
