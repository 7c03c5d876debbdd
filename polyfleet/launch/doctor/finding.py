"""One thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from polyfleet.errors import PolyfleetError

Verdict = Literal["ok", "fails", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`area`: whose it is (a place, an image, a variable). `fails`: `up` would, or what it starts. `unknown`: it could
    not be asked. `told`: what was found, and what to do about it."""

    area: str
    what: str
    verdict: Verdict
    told: str = ""


def tried(area: str, what: str, act: Callable[[], str]) -> Finding:
    """`ok` with what the act tells; `fails` with the error that it raises, `unknown` where asking again could help."""
    try:
        return Finding(area, what, "ok", act())
    except PolyfleetError as error:
        return Finding(area, what, "unknown" if error.can_retry else "fails", str(error))
