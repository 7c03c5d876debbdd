"""Whether a place would take its replicas, by its own word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from polyfleet.errors import PolyfleetError
from polyfleet.launch.doctor.finding import Finding, tried
from polyfleet.launch.driver import Driver
from polyfleet.terms.fleet import ReplicaSpec


def look_at_place(make: Callable[[], Driver], place: str, specs: Sequence[ReplicaSpec]) -> Iterator[Finding]:
    """Whether it can be reached and would take these; what its driver knows of quotas and credentials besides."""
    try:
        driver = make()
    except PolyfleetError as error:
        yield Finding(place, "access", "fails", str(error))
        return
    try:
        yield tried(place, "takes them", lambda: _taken(driver, specs))
        for what, fine, told in getattr(driver, "examine", lambda _specs: ())(specs):
            yield Finding(place, what, "unknown" if fine is None else "ok" if fine else "fails", told)
    except PolyfleetError as error:
        yield Finding(place, "access", "unknown", str(error))
    finally:
        close = getattr(driver, "close", None)
        if close is not None:
            close()


def _taken(driver: Driver, specs: Sequence[ReplicaSpec]) -> str:
    check = getattr(driver, "check", None)
    if check is None:
        return "it cannot be asked beforehand"
    check(specs)
    return f"it would take {'its replica' if len(specs) == 1 else f'all {len(specs)} replicas'}"
