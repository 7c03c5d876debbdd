"""A replica's manifest as a SkyPilot task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.names import job_of, machine_of
from polyfleet.terms.fleet import PricedOffer, ReplicaSpec

_IDLE_MINUTES = 30
"""A machine on which nothing runs takes itself down after so long, whoever has forgotten it."""
_NO_AUTODOWN = ("hyperbolic", "primeintellect", "verda", "yotta")
"""Clouds of which SkyPilot says that a machine cannot do that there."""


class SkyManifest(BaseModel):
    """What runs on the machine, and the port it answers on. `ports`: all of the machine's, its neighbours' too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    setup: str = ""
    run: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    ports: tuple[int, ...] = ()
    file_mounts: dict[str, Any] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()


def manifest_of(spec: ReplicaSpec) -> SkyManifest:
    """Raises LaunchError where it is none that SkyPilot could be handed."""
    try:
        return SkyManifest.model_validate_json(spec.manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise LaunchError(
            f"{spec.id}: no task for SkyPilot: {where}: {first['msg']}; run `polyfleet up` again"
        ) from None


def machine_task(spec: ReplicaSpec) -> dict[str, Any]:
    """The task that sets a machine up and runs nothing on it yet."""
    manifest = manifest_of(spec)
    told: dict[str, Any] = {"name": machine_of(spec)}
    return told | ({"file_mounts": manifest.file_mounts} if manifest.file_mounts else {})


def job_task(spec: ReplicaSpec) -> dict[str, Any]:
    """The task that is the replica."""
    manifest = manifest_of(spec)
    told: dict[str, Any] = {"name": job_of(spec), "setup": manifest.setup or None, "run": manifest.run}
    return told | ({"file_mounts": manifest.file_mounts} if manifest.file_mounts else {})


def resources_of(spec: ReplicaSpec, offer: PricedOffer, fleet: str) -> dict[str, Any]:
    """What SkyPilot is to rent for an offer, with ports and labels. Raises LaunchError."""
    manifest = manifest_of(spec)
    try:
        asked = json.loads(offer.resources)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise LaunchError(f"{spec.id}: the offer {offer.offer} says no resources; run `polyfleet up` again")
    made = {**asked, "ports": sorted({manifest.port, *manifest.ports})}
    made["labels"] = {**asked.get("labels", {}), **labels_of(spec, fleet)}
    if cloud_of(asked) not in _NO_AUTODOWN:
        made.setdefault("autostop", {"idle_minutes": _IDLE_MINUTES, "down": True})
    return made


def labels_of(spec: ReplicaSpec, fleet: str) -> dict[str, str]:
    """Within what every cloud takes: lower case, 63 characters."""
    return {"polyfleet-fleet": fleet, "polyfleet-machine": machine_of(spec)}


def cloud_of(resources: Mapping[str, Any]) -> str:
    return str(resources.get("infra") or resources.get("cloud") or "").partition("/")[0].casefold()


def clouds_of(specs: Sequence[ReplicaSpec]) -> list[str]:
    """The clouds that the first offers of these replicas are of."""
    found = {cloud_of(json.loads(spec.offers[0].resources)) for spec in specs}
    return sorted(found - {""})
