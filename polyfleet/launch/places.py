"""Several drivers as one: each replica with the driver of its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import Alive, Driver, Started
from polyfleet.terms.fleet import Replica, ReplicaSpec


class Places:
    """A driver for each place, made when it is first needed. `known`: places that may hold replicas from before."""

    def __init__(
        self, make: Callable[[str], Driver], place_of: Callable[[ReplicaSpec], str], known: Iterable[str] = ()
    ) -> None:
        self._make, self._place_of = make, place_of
        self._drivers: dict[str, Driver] = {}
        for place in known:
            self._at(place)

    def start(self, spec: ReplicaSpec) -> Started:
        return self._at(self._place_of(spec)).start(spec)

    def stop(self, replica: Replica, grace_s: float) -> None:
        self._at(self._place_of(replica.spec)).stop(replica, grace_s)

    def list(self) -> Mapping[str, Alive]:
        found: dict[str, Alive] = {}
        for driver in tuple(self._drivers.values()):
            found |= driver.list()
        return found

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        for driver in tuple(self._drivers.values()):
            try:
                first = next(lines := driver.logs(replica_id, last=last, follow=follow), None)
            except LaunchError:
                continue
            if first is not None:
                yield first
                yield from lines
            return
        raise LaunchError(f"{replica_id} has no log")

    def tidy(self) -> None:
        for driver in tuple(self._drivers.values()):
            driver.tidy()

    def _at(self, place: str) -> Driver:
        if place not in self._drivers:
            self._drivers[place] = self._make(place)
        return self._drivers[place]
