"""The catalog as a whole: chips, rented offers and hosted offers, with a digest of what they were read from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.hosted import load_hosted, sold_as
from polyfleet.catalog.offers import UNPROVEN, load_offers
from polyfleet.catalog.overlay import lay_over, parse_overlay, read_content
from polyfleet.catalog.overlay_hosted import lay_over_hosted
from polyfleet.catalog.reading import TABLES
from polyfleet.terms.chip import Chip
from polyfleet.terms.offer import HostedOffer, Offer


@dataclass(frozen=True, slots=True)
class Catalog:
    """What can be bought and on which chips. `as_of` is the oldest and the newest dated price, empty where none is.

    `digest` is the SHA-256 of the packaged tables and of every overlay, in order.
    """

    chips: Mapping[str, Chip]
    offers: tuple[Offer, ...]
    hosted: tuple[HostedOffer, ...]
    digest: str
    as_of: tuple[str, str]

    def sold(self, model: str) -> tuple[HostedOffer, ...]:
        """Hosted offers of a model; a quantised copy (`Qwen/Qwen3-32B-FP8`) is sold under its original's name."""
        name = sold_as(model)
        return tuple(offer for offer in self.hosted if offer.model == name)


def load_catalog(overlays: Sequence[Path] = (), *, include_unproven: bool = False) -> Catalog:
    """The packaged catalog with the user's own files laid over it, the last one on top.

    Unproven (second-hand) offers are left out unless asked for. Raises CatalogError with file, line and value where an
    overlay is missing or wrong.
    """
    offers = tuple(o for o in load_offers() if include_unproven or o.quality != UNPROVEN)
    hosted = tuple(h for h in load_hosted() if include_unproven or h.quality != UNPROVEN)
    digest = hashlib.sha256(f"{_tables_digest()} unproven={include_unproven}".encode())
    for path in overlays:
        content = read_content(path)
        rows = parse_overlay(content, path.name)
        offers, hosted = lay_over(offers, rows), lay_over_hosted(hosted, rows)
        digest.update(content)
    as_of = _dates([o.as_of for o in offers] + [h.as_of for h in hosted])
    return Catalog(dict(load_chips()), offers, hosted, digest.hexdigest(), as_of)


_NOT_OF_A_PLAN = frozenset({"images.csv", "clusters.csv"})
"""How a build is started changes no plan: a new image's tag does not make a plan one of an older catalog."""


@cache
def _tables_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(TABLES.rglob("*")):
        if path.is_file() and path.name not in _NOT_OF_A_PLAN:
            digest.update(path.relative_to(TABLES).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _dates(as_of: Iterable[str]) -> tuple[str, str]:
    dates = set(as_of) - {""}
    return (min(dates), max(dates)) if dates else ("", "")
