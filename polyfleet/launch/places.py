"""Several drivers as one: each replica with the driver of its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from polyfleet.errors import LaunchError, PolyfleetError
from polyfleet.launch.driver import Alive, Driver, Started
from polyfleet.terms.fleet import Replica, ReplicaSpec

_LOG = logging.getLogger("polyfleet.places")


class Places:
    """A driver for each place, made when it is first needed. `known`: places that may hold replicas from before.

    A place that cannot be looked at (its API server is away, its login has run out) is taken to be as it was when it
    was seen last, at first as `remembered` says: that nobody can be asked is no death, and holds up no other place.
    """

    def __init__(
        self, make: Callable[[str], Driver], known: Iterable[str] = (), remembered: Mapping[str, Replica] | None = None
    ) -> None:
        self._make = make
        self._drivers: dict[str, Driver] = {}
        self._known = list(dict.fromkeys(known))
        self._seen: dict[str, Mapping[str, Alive]] = {}
        for place in self._known:
            mine = {i: r for i, r in (remembered or {}).items() if r.spec.place == place and r.pid is not None}
            self._seen[place] = {i: _as_remembered(replica) for i, replica in mine.items()}
        self._told: dict[str, str] = {}
        self.unseen: tuple[str, ...] = ()
        """Places that could not be looked at, the last time."""

    def check(self, specs: Sequence[ReplicaSpec]) -> None:
        """Ask each place whether it would take its replicas, where it can tell without changing anything. Raises
        LaunchError or InputError with the first refusal."""
        for place in dict.fromkeys(spec.place for spec in specs):
            check = getattr(self._at(place), "check", None)
            if check is not None:
                check([spec for spec in specs if spec.place == place])

    def start(self, spec: ReplicaSpec) -> Started:
        return self._at(spec.place).start(spec)

    def stop(self, replica: Replica, grace_s: float) -> None:
        self._at(replica.spec.place).stop(replica, grace_s)

    def list(self) -> Mapping[str, Alive]:
        found: dict[str, Alive] = {}
        unseen: list[str] = []
        for place in tuple(self._known):
            try:
                self._seen[place] = self._at(place).list()
                self._told.pop(place, None)
            except PolyfleetError as error:
                unseen.append(place)
                if self._told.get(place) != (words := str(error).splitlines()[0]):
                    _LOG.warning("%s cannot be looked at: %s", place, words)
                    self._told[place] = words
            found |= self._seen.get(place, {})
        self.unseen = tuple(unseen)
        return found

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        for place in tuple(self._known):
            try:
                first = next(lines := self._at(place).logs(replica_id, last=last, follow=follow), None)
            except PolyfleetError:
                continue
            if first is not None:
                yield first
                yield from lines
            return
        raise LaunchError(f"{replica_id} has no log")

    def tidy(self) -> None:
        for driver in tuple(self._drivers.values()):
            driver.tidy()

    def close(self) -> None:
        """Let go of what watches; replicas stay."""
        for driver in self._drivers.values():
            close = getattr(driver, "close", None)
            if close is not None:
                close()

    def _at(self, place: str) -> Driver:
        if place not in self._drivers:
            self._drivers[place] = self._make(place)
        if place not in self._known:
            self._known.append(place)
        return self._drivers[place]


def _as_remembered(replica: Replica) -> Alive:
    return Alive(replica.spec, replica.pid or 0, replica.process_started or 0.0, replica.url or "")
