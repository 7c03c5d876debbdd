"""The seam to where replicas run. `fake.FakeDriver` stands in for it in tests, yours too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from polyfleet.errors import LaunchError
from polyfleet.terms.fleet import Replica, ReplicaSpec


@dataclass(frozen=True, slots=True)
class Started:
    """A replica that was just started. `process_started`: the operating system's start time of `pid` (seconds)."""

    pid: int
    process_started: float
    url: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A replica that runs, as found: `spec` is what it was started as. `url` is empty while it has no address;
    `trouble` says in a line what holds it up, as far as its place knows."""

    spec: ReplicaSpec
    pid: int
    process_started: float
    url: str
    trouble: str = ""


class StillThereError(LaunchError):
    """A replica of this id runs already, or is just being started by another process: look again."""

    can_retry = True


class Driver(Protocol):
    """What a place to run replicas must be able to do."""

    def start(self, spec: ReplicaSpec) -> Started:
        """Start a replica and return at once. Raises StillThereError where one of its id runs, LaunchError where it
        cannot be started."""
        ...

    def stop(self, replica: Replica, grace_s: float) -> None:
        """Ask it to end, and end it after `grace_s` seconds; returns once it is gone."""
        ...

    def list(self) -> Mapping[str, Alive]:
        """What runs, by id."""
        ...

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        """Lines of its log, the `last` ones or all, then those to come where `follow`."""
        ...

    def tidy(self) -> None:
        """Bound what grows, such as logs; called again and again. Raises OSError."""
        ...
