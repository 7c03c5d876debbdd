"""AWS's spot advisor: how often spot instances are reclaimed, in bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

from polyfleet.catalog.imports.hosts import known_hosts
from polyfleet.catalog.imports.listed import Tally
from polyfleet.catalog.imports.stream import json_field
from polyfleet.errors import CatalogError

ADDRESS = "https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json"
# Share of instances reclaimed in a month by the band's label: its middle. The open top band is taken as 25 %.
SHARES = {"<5%": 0.025, "5-10%": 0.075, "10-15%": 0.125, "15-20%": 0.175, ">20%": 0.25}


@dataclass(frozen=True, slots=True)
class Band:
    """Of one type of machine in one region: its band's label and the rate that stands for it."""

    region: str
    instance_type: str
    label: str

    @property
    def interruptions_per_month(self) -> float:
        """Of one instance that is replaced whenever it is reclaimed: -ln(1 - share), the rate of a Poisson process that
        spares 1 - share of instances in a month."""
        return -log(1 - SHARES[self.label])


def read(document: Any, tally: Tally, file: str = ADDRESS) -> tuple[Band, ...]:
    """Bands of Linux machines that the catalog knows. Raises CatalogError where a field or a band is another."""
    labels = _labels(document, file)
    found = []
    for region, systems in json_field(document, "spot_advisor", dict, file).items():
        linux = systems.get("Linux") if isinstance(systems, dict) else None
        for kind, record in (linux if isinstance(linux, dict) else {}).items():
            tally.read += 1
            place = json_field(record, "r", int, file)
            if ("aws", kind) not in known_hosts():
                tally.leave_out("no instance type that the catalog knows")
            elif place not in labels:
                raise CatalogError("a band that the list does not explain", file=file, value=place)
            else:
                found.append(Band(region, kind, labels[place]))
    return tuple(found)


def _labels(document: Any, file: str) -> Mapping[int, str]:
    labels = {}
    for band in json_field(document, "ranges", list, file):
        label = json_field(band, "label", str, file)
        if label not in SHARES:
            hint = f"known: {', '.join(SHARES)}"
            raise CatalogError("the bands have changed", file=file, value=label, hint=hint)
        labels[json_field(band, "index", int, file)] = label
    return labels
