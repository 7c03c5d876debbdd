"""Whether machines could be rented, before any is: no credentials, an unknown machine, no key for open ports."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence

from polyfleet.errors import LaunchError
from polyfleet.launch.engines import ENGINE_KEY
from polyfleet.launch.sky.client import Sky
from polyfleet.launch.sky.refusals import EngineError, fact_of
from polyfleet.launch.sky.task import cloud_of, clouds_of, manifest_of, resources_of
from polyfleet.terms.fleet import ReplicaSpec


def require_rentable(sky: Sky, specs: Sequence[ReplicaSpec], fleet: str) -> None:
    """Raises LaunchError with the first reason why some replica's machine cannot be had. Nothing is touched."""
    for spec in specs:
        manifest = manifest_of(spec)
        if not spec.offers:
            raise LaunchError(f"{spec.id}: the plan names no offer to rent its machine as")
        if ENGINE_KEY in manifest.secrets and not os.environ.get(ENGINE_KEY):
            raise LaunchError(
                f"set {ENGINE_KEY}: the ports that SkyPilot opens are open to the world, and engines ask for this key"
            )
        for offer in spec.offers:
            resources_of(spec, offer, fleet)
    sky.hello()
    enabled = sky.enabled(clouds_of(specs))
    firsts = {spec.offers[0].resources: spec for spec in specs}
    for spec in firsts.values():
        _require_known(sky, spec, enabled, fleet)


def _require_known(sky: Sky, spec: ReplicaSpec, enabled: Collection[str], fleet: str) -> None:
    """That the plan's own choice can be had. What it might be replaced by is asked for when it comes to that."""
    offer = spec.offers[0]
    cloud = cloud_of(json.loads(offer.resources))
    if cloud not in enabled:
        raise LaunchError(
            f"{spec.id}: SkyPilot has no credentials for {cloud}, of the offer {offer.offer}; log in there, then see "
            f"`sky check {cloud}`"
        )
    try:
        sky.price(resources_of(spec, offer, fleet))
    except EngineError as error:
        raise LaunchError(f"{spec.id}: {fact_of(error, offer.offer, 0.0).line}") from None
