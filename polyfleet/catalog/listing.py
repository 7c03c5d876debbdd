"""Models of the catalog as one list: architectures that can be run, and closed models that are only sold."""

from __future__ import annotations

from dataclasses import dataclass

from polyfleet.catalog.models import find_model, list_models
from polyfleet.catalog.search import Filters, SoldModel, find_sold_models
from polyfleet.catalog.store import Catalog


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model: its size where the architecture is known (None = closed), and who sells it by the token.

    Prices are the lowest listed ones in USD per million tokens; None = nobody in the catalog sells it.
    """

    name: str
    total_params: int | None
    active_params: int | None
    precision: str | None
    source: str
    providers: tuple[str, ...]
    usd_per_million_input: float | None
    usd_per_million_output: float | None


def find_models(catalog: Catalog, filters: Filters) -> tuple[ListedModel, ...]:
    """Every packaged architecture and every model sold, by name; with a filter, the models sold that it leaves.

    Raises CatalogError with the closest names where a filter names nothing known.
    """
    by_name = {s.name: s for s in find_sold_models(catalog, filters)}
    own = set(list_models())
    names = sorted({*by_name} if filters.any else {*own, *by_name}, key=str.casefold)
    return tuple(_listed(name, name in own, by_name.get(name)) for name in names)


def _listed(name: str, packaged: bool, sold: SoldModel | None) -> ListedModel:
    model = find_model(name) if packaged else None
    return ListedModel(
        name,
        model.total_params if model else None,
        model.active_params if model else None,
        model.checkpoint.precision.value if model else None,
        model.source if model else "",
        sold.providers if sold else (),
        sold.lowest_usd_per_million_input if sold else None,
        sold.lowest_usd_per_million_output if sold else None,
    )
