"""Where a plan's lines run: what the spec says of it, made whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from polyfleet.errors import LaunchError
from polyfleet.terms.fleet import KUBERNETES, SKY
from polyfleet.terms.launch_section import Launch, On, PlaceChoice
from polyfleet.terms.plan import Line


def place_chooser(launch: Launch, on: On | None) -> Callable[[Line], str]:
    """Names the place of a line. `on` sends all lines to one engine; which context of it, the spec's places still say.

    What it gives raises LaunchError where nothing says where a line runs, InputError where a context does not exist.
    """
    places = [place for place in launch.places if on is None or place.on == on]
    otherwise = on or launch.on

    def choose(line: Line) -> str:
        fits = next((place for place in places if _fits(place, line)), None)
        engine = fits.on if fits else otherwise
        if engine == "sky":
            return SKY
        if engine == "kubernetes":
            return _namespace(fits.context if fits else "", fits.namespace if fits else "")
        raise LaunchError(
            f"nothing says where line {line.id} ({line.chip} at {line.provider}) runs; add `--on sky` or "
            "`--on kubernetes`, or a place for it under `launch: places:`"
        )

    return choose


def _fits(place: PlaceChoice, line: Line) -> bool:
    asked = ((place.provider, line.provider), (place.region, line.region))
    return all(wanted is None or wanted.casefold() == there.casefold() for wanted, there in asked)


@cache
def _namespace(context: str, namespace: str) -> str:
    """In full: what the kubeconfig's current context is may change while the fleet runs."""
    from polyfleet.launch.kubernetes.cluster import connect

    place = connect(context or None, namespace or None).place
    return f"{KUBERNETES}{place.context}/{place.namespace}"
