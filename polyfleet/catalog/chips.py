"""Chips as their datasheets state them, by canonical name or alias."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from polyfleet.catalog.reading import Row, did_you_mean, read_table
from polyfleet.catalog.spelling import squeezed
from polyfleet.errors import CatalogError
from polyfleet.terms.chip import Chip

_RATES = {
    "bf16": "bf16_tflops",
    "fp16": "fp16_tflops",
    "fp8": "fp8_tflops",
    "fp4": "fp4_tflops",
    "int8": "int8_tops",
}


@cache
def load_chips() -> Mapping[str, Chip]:
    """All chips of the catalog by canonical name, in the table's order."""
    return MappingProxyType({row["name"]: _chip(row) for row in read_table("chips.csv")})


def find_chip(name: str) -> Chip:
    """The chip of this name or alias; case, spaces, dashes and underscores do not matter.

    Raises CatalogError with the closest names where none matches.
    """
    chips = load_chips()
    found = chip_names().get(squeezed(name))
    if found is None:
        raise CatalogError("unknown chip", value=name, hint=did_you_mean(name, chips, _aliases()))
    return chips[found]


@cache
def chip_names() -> Mapping[str, str]:
    """Canonical name by squeezed name or alias."""
    names = {squeezed(alias): name for alias, name in _aliases().items()}
    return MappingProxyType(names | {squeezed(name): name for name in load_chips()})


@cache
def _aliases() -> Mapping[str, str]:
    return MappingProxyType({row["alias"]: row["name"] for row in read_table("chip_aliases.csv")})


def _chip(row: Row) -> Chip:
    return Chip(
        name=row["name"],
        vendor=row["vendor"],
        family=row["family"],
        memory_gib=float(row["memory_gib"]),
        bandwidth_gb_s=float(row["bandwidth_gb_s"]),
        tflops={key: float(row[column]) for key, column in _RATES.items() if row[column]},
        link_name=row["link_name"],
        link_gb_s=float(row["link_gb_s"]),
        domain_chips=int(row["domain_chips"]),
        cores=int(row["cores"]),
        year=int(row["year"]),
        engines=tuple(row["engines"].split()),
        source=row["source"],
        as_of=row["as_of"],
        verified=row["verified"] == "yes",
    )
