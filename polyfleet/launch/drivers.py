"""The driver of each place, as a replica's spec names it."""

from __future__ import annotations

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import Driver
from polyfleet.launch.home import Home
from polyfleet.launch.local import LocalDriver
from polyfleet.launch.places import Places
from polyfleet.launch.state import State
from polyfleet.terms.fleet import ENDPOINT, HERE, KUBERNETES, SKY


def drivers(home: Home, state: State) -> Places:
    """All places that a home's replicas may be at, as one driver. `close` it when done."""
    return Places(lambda place: make_driver(home, place), (HERE, *state.places()), state.replicas())


def make_driver(home: Home, place: str) -> Driver:
    """The driver of a place. Raises MissingExtraError, or InputError where its context does not exist."""
    if place == HERE:
        return LocalDriver(home.folder)
    if place == ENDPOINT:
        from polyfleet.launch.endpoint_driver import EndpointDriver

        return EndpointDriver(home.folder)
    if place == SKY:
        from polyfleet.launch.sky.driver import SkyDriver

        return SkyDriver(home.folder, home.identity)
    if place.startswith(KUBERNETES):
        from polyfleet.launch.kubernetes.cluster import connect
        from polyfleet.launch.kubernetes.driver import KubernetesDriver

        context, _, namespace = place.removeprefix(KUBERNETES).rpartition("/")
        return KubernetesDriver(connect(context, namespace), home.identity)
    raise LaunchError(f"{place!r} is no place that this version knows")
