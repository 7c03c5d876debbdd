"""Compose files: what stands on one machine, for a machine that is there already."""

from __future__ import annotations

from typing import Any

from polyfleet.launch.manifests.fleet import Planned
from polyfleet.launch.manifests.layouts import Layout, Seat, layouts_of
from polyfleet.launch.manifests.text import yaml_text
from polyfleet.launch.manifests.weights_from import FOLDER, WeightsFrom
from polyfleet.launch.recipes.docker import SECRETS


def compose_files(planned: Planned, weights: WeightsFrom) -> dict[str, str]:
    """One file for each kind of machine of the plan."""
    return {f"{layout.name}.yaml": yaml_text(_compose(layout, weights)) for layout in layouts_of(planned)}


def _compose(layout: Layout, weights: WeightsFrom) -> dict[str, Any]:
    services = {f"{seat.line.name}-at-{seat.first_chip}": _service(seat, weights) for seat in layout.seats}
    made: dict[str, Any] = {"name": layout.name, "services": services}
    return {**made, "volumes": {"hub": {}}} if weights.kind == "hub" else made


def _service(seat: Seat, weights: WeightsFrom) -> dict[str, Any]:
    recipe = seat.recipe
    program, *arguments = recipe.command
    made: dict[str, Any] = {
        "image": recipe.image,
        "entrypoint": [program],
        "command": [part.replace("$", "$$") for part in arguments],
        "environment": {**recipe.environment, **recipe.visible, **dict.fromkeys(SECRETS)},
        "runtime": recipe.runtime,
        "devices": [f"{path}:{path}" for path in recipe.device.files],
        "group_add": list(recipe.groups),
        "cap_add": list(recipe.capabilities),
        "security_opt": [choice.replace("=", ":", 1) for choice in recipe.security],
        "privileged": recipe.privileged,
        "ipc": "host" if recipe.host_ipc else "",
        "shm_size": "" if recipe.host_ipc else f"{recipe.shm_gib}gb",
        "network_mode": "host" if recipe.host_network else "",
        "ports": [] if recipe.host_network else [f"{recipe.port}:{recipe.port}"],
        "volumes": _volumes(weights),
        "deploy": _gpus(recipe.device.gpus),
        "healthcheck": _health(seat),
        "restart": "unless-stopped",
    }
    return {key: value for key, value in made.items() if value}


def _volumes(weights: WeightsFrom) -> list[str]:
    if weights.kind == "hub":
        return ["hub:/root/.cache/huggingface"]
    return [] if weights.kind == "image" else [f"{FOLDER}:{FOLDER}:ro"]


def _gpus(numbers: tuple[int, ...]) -> dict[str, Any]:
    if not numbers:
        return {}
    device = {"driver": "nvidia", "device_ids": [str(n) for n in numbers], "capabilities": ["gpu"]}
    return {"resources": {"reservations": {"devices": [device]}}}


def _health(seat: Seat) -> dict[str, Any]:
    """Asked from inside, by the Python that every one of these images has."""
    url = f"http://127.0.0.1:{seat.recipe.port}{seat.recipe.health}"
    start_s = max(1800, 2 * (seat.recipe.cold_start_s or 0))
    return {
        "test": ["CMD", "python3", "-c", f"import urllib.request as r; r.urlopen('{url}', timeout=5)"],
        "interval": "10s", "timeout": "10s", "retries": 6, "start_period": f"{start_s}s",
    }  # fmt: skip
