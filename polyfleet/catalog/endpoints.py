"""Where hosts that sell tokens are reached in OpenAI's form, and what they call the models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from polyfleet.catalog.reading import Row, read_table
from polyfleet.terms.offer import HostedOffer

_NOT_THERE = "!"
_ID = re.compile(r"(?:^|; )id ([^;]+)")


@dataclass(frozen=True, slots=True)
class KnownEndpoint:
    """One host. `url` with its path; {PLACEHOLDERS} are names of environment variables, `{region}` the offer's region.
    `key_env` the environment variable that by convention holds its key, which goes up as `Authorization: Bearer`.
    `renames`: how the catalog's ids begin, and what stands there at the host (None: not behind this endpoint).
    `evidence` of the address: `opened` where the host's own page that says so was read on `as_of`, `seen` where others'
    public documents or code say so, else `recalled`; `source` is where to look."""

    provider: str
    url: str
    key_env: str
    renames: tuple[tuple[str, str | None], ...]
    evidence: str
    source: str
    as_of: str
    note: str

    def name_of(self, offer: HostedOffer) -> str | None:
        """What the host calls an offer's model; None where the catalog does not know, or it is not there."""
        found = _ID.search(offer.note)
        if found is None:
            return None
        name = found[1].strip()
        for start, put in self.renames:
            begins = start.replace("{region}", offer.region)
            if name.startswith(begins):
                return None if put is None else put + name.removeprefix(begins)
        return name

    def lacks(self, offer: HostedOffer) -> bool:
        """Whether the offer's model is known to be not behind this endpoint."""
        return _ID.search(offer.note) is not None and self.name_of(offer) is None


@cache
def known_endpoints() -> Mapping[str, KnownEndpoint]:
    """By provider, as the hosted offers name it."""
    return {row["provider"]: _endpoint(row) for row in read_table("endpoints.csv")}


def _endpoint(row: Row) -> KnownEndpoint:
    pairs = [pair.split(">", 1) for pair in row["renames"].split()]
    return KnownEndpoint(
        provider=row["provider"], url=row["url"], key_env=row["key_env"],
        renames=tuple((start, None if put == _NOT_THERE else put) for start, put in pairs),
        evidence=row["evidence"], source=row["source"], as_of=row["as_of"], note=row["note"],
    )  # fmt: skip
