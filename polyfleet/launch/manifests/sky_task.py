"""SkyPilot tasks: one file for each kind of machine, with the offers to try in order."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from polyfleet.launch.manifests.fleet import Planned
from polyfleet.launch.manifests.layouts import Layout, layouts_of
from polyfleet.launch.manifests.rentable import rentable
from polyfleet.launch.manifests.text import yaml_text
from polyfleet.launch.manifests.weights_from import FOLDER, WeightsFrom
from polyfleet.launch.recipes import LaunchRecipe
from polyfleet.launch.recipes.docker import SECRETS, docker_line


def sky_files(planned: Planned, weights: WeightsFrom) -> tuple[dict[str, str], tuple[str, ...]]:
    """Task files by path, and what SkyPilot cannot rent, with why."""
    files, left_out = {}, []
    for layout in layouts_of(planned):
        ports = sorted(seat.recipe.port for seat in layout.seats)
        resources = [{**asked, "ports": list(ports)} for _, _, asked in rentable(planned.plan, layout.rental)]
        if resources:
            files[f"{layout.name}.yaml"] = yaml_text(_task(layout, resources, weights), above=_above(planned, layout))
        else:
            left_out.append(f"{layout.name}: SkyPilot does not rent {layout.rental.chip} from {layout.rental.provider}")
    return files, tuple(left_out)


def replica_task(replica: str, recipe: LaunchRecipe, ports: Sequence[int], weights: WeightsFrom) -> dict[str, Any]:
    """One replica as a job on its machine, all of whose `ports` are opened. The container goes with the job, and one
    that an earlier job left is removed before."""
    remove = f"sudo docker rm -f {replica} >/dev/null 2>&1"
    started = docker_line(recipe, ("--rm", "--name", replica), _volumes(weights))
    task: dict[str, Any] = {
        "name": replica,
        "setup": f"sudo docker pull {shlex.quote(recipe.image)}\n",
        "run": f"{remove}\ntrap '{remove}' EXIT\ntrap 'exit 143' TERM INT\nsudo -E {started} &\nwait $!\n",
        "port": recipe.port,
        "ports": list(ports),
        "secrets": list(SECRETS),
    }
    return task | _mounts(weights)


def _task(layout: Layout, resources: list[dict[str, Any]], weights: WeightsFrom) -> dict[str, Any]:
    task: dict[str, Any] = {"name": layout.name, "resources": {"ordered": resources}}
    task |= _mounts(weights)
    task["secrets"] = dict.fromkeys(SECRETS)  # a port that SkyPilot opens is open to the world: a key must be given
    task["setup"] = "".join(f"sudo docker pull {image}\n" for image in _images(layout))
    task["run"] = _run(layout, weights)
    return task


def _run(layout: Layout, weights: WeightsFrom) -> str:
    """Starts every replica of the machine, and ends with the first that ends. `-E` lets Docker see the variables."""
    volumes = _volumes(weights)
    started = [f"sudo -E {docker_line(seat.recipe, ('--rm',), volumes)} &\n" for seat in layout.seats]
    return "".join([*started, "wait -n\n"])


def _images(layout: Layout) -> list[str]:
    return list(dict.fromkeys(seat.recipe.image for seat in layout.seats))


def _volumes(weights: WeightsFrom) -> list[str]:
    if weights.kind in ("pvc", "store"):
        return [f"{FOLDER}:{FOLDER}:ro"]
    return [] if weights.kind == "image" else ["/root/.cache/huggingface:/root/.cache/huggingface"]


def _mounts(weights: WeightsFrom) -> dict[str, Any]:
    return {"file_mounts": {FOLDER: {"source": weights.at, "mode": "MOUNT"}}} if weights.kind == "store" else {}


def _above(planned: Planned, layout: Layout) -> str:
    served = sorted({f"line {seat.line.line.id} ({seat.line.line.workload})" for seat in layout.seats})
    rental = layout.rental
    lines = [
        f"Machines like this: {layout.machines}. Replicas on each: {len(layout.seats)}, of {', '.join(served)}.",
        f"Plan {planned.digest}, window {planned.plan.windows[planned.window].name}.",
        f"${rental.usd_per_hour:,.2f} an hour each ({rental.price_source}, {rental.price_as_of or 'undated'}).",
        f"sky launch -c NAME {' '.join(f'--secret {name}' for name in SECRETS)} {layout.name}.yaml",
    ]
    return "".join(f"# {line}\n" for line in lines)
