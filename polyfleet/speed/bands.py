"""How far a prediction may be off: P10 and P90 of measured over predicted, by metric, by how near the evidence is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from polyfleet.terms.evidence import Band

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Factors:
    """Measured over predicted at P10 and at P90, and the groups and rows behind them."""

    p10: float
    p90: float
    groups: int = 0
    rows: int = 0

    def band(self, value: float) -> Band:
        """The band around a predicted value; it always holds the value itself."""
        return Band(value * min(self.p10, 1.0), value, value * max(self.p90, 1.0))


@cache
def packaged_bands() -> Mapping[Key, Factors]:
    """Factors by (metric, scope) from `speed/tables/bands.csv`; scope is `family=...`, `own`, `calibrated` or
    `physics`."""
    text = files("polyfleet.speed").joinpath("tables/bands.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        (r["metric"], r["scope"]): Factors(float(r["p10"]), float(r["p90"]), int(r["groups"]), int(r["rows"]))
        for r in rows
    }


def factors_for(bands: Mapping[Key, Factors], metric: str, family: str, evidence: str) -> Factors:
    """Factors of a prediction.

    `evidence` is `own` where the user measured this very build, else the kind of evidence. A family with rows has its
    own factors; a chip without any gets those of families left out of the fit.
    """
    own = bands.get((metric, f"family={family}"))
    if evidence in ("own", "physics"):
        return bands[metric, evidence]
    return own or bands[metric, "calibrated"]
