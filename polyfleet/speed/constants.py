"""The fitted constants: a small table, read once, and what it says for one point."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np

from polyfleet.speed.rates import Rates
from polyfleet.speed.shape import Floats

# A multiplier stands for several constants that move together where little is known apart.
MULTIPLIERS: Mapping[str, tuple[str, ...]] = {
    "compute": ("compute_eff", "prefill_eff", "attention_compute_eff"),
    "overhead": ("step_s", "layer_s", "moe_layer_s", "mixed_layer_s", "sequence_s"),
}


@dataclass(frozen=True, slots=True)
class Constant:
    """`name` (a field of Rates, or a multiplier) in `scope` (`all`, or `key=value`); scopes multiply.

    `rows`: measured rows in that scope.
    """

    name: str
    scope: str
    value: float
    rows: int = 0


Table = Mapping[str, Mapping[str, float]]
"""Natural logarithm of the value, by name, then by scope."""


def table_of(constants: Iterable[Constant]) -> Table:
    """The constants by name and scope."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for c in constants:
        table[c.name][c.scope] = math.log(c.value)
    return dict(table)


@cache
def packaged_constants() -> tuple[Constant, ...]:
    """The constants that come with the package (`speed/tables/constants.csv`)."""
    text = files("polyfleet.speed").joinpath("tables/constants.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Constant(r["name"], r["scope"], float(r["value"]), int(r["rows"])) for r in rows)


def scopes_of(keys: Mapping[str, str]) -> tuple[str, ...]:
    """The scopes that a point with these keys is in."""
    single = [f"{key}={value}" for key, value in keys.items()]
    pairs = (("family", "format"), ("vendor", "era"))
    return ("all", *single, *("&".join(f"{key}={keys[key]}" for key in pair) for pair in pairs))


def rates_of(table: Table, points: Sequence[Mapping[str, str]]) -> Rates:
    """Rates of n points, each field an array (n,); `keys` as `keys_of` gives them."""
    scopes = [scopes_of(keys) for keys in points]
    logs = {name: _logs(by_scope, scopes) for name, by_scope in table.items()}
    for multiplier, names in MULTIPLIERS.items():
        extra = logs.pop(multiplier, None)
        if extra is not None:
            logs.update({name: logs[name] + extra for name in names})
    return Rates(**{f.name: bounded(f.name, logs[f.name]) for f in fields(Rates)})


def bounded(name: str, logs: Floats) -> Floats:
    """The rates of these logarithms. No share of a datasheet's rate exceeds 1: silicon is no faster than it states."""
    return np.asarray(np.exp(np.minimum(logs, 0.0) if name.endswith("_eff") else logs))


def _logs(by_scope: Mapping[str, float], scopes: Sequence[Sequence[str]]) -> Floats:
    return np.array([sum(by_scope.get(s, 0.0) for s in point) for point in scopes])
