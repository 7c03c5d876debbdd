"""SkyPilot tasks: one file for each kind of machine, with the offers to try in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polyfleet.catalog.images import load_clusters
from polyfleet.launch.manifests.fleet import Planned
from polyfleet.launch.manifests.layouts import Layout, layouts_of
from polyfleet.launch.manifests.text import yaml_text
from polyfleet.launch.manifests.weights_from import FOLDER, WeightsFrom
from polyfleet.launch.recipes.docker import SECRETS, docker_line
from polyfleet.terms.plan import Plan, ProblemBox

_TPU = {"TPU-v4": "tpu-v4", "TPU-v5e": "tpu-v5litepod", "TPU-v5p": "tpu-v5p", "TPU-v6e": "tpu-v6e"}
_SPREAD_KINDS = ("share of provider", "share of region", "survive")


def sky_files(planned: Planned, weights: WeightsFrom) -> tuple[dict[str, str], tuple[str, ...]]:
    """Task files by path, and what SkyPilot cannot rent, with why."""
    files, left_out = {}, []
    for layout in layouts_of(planned):
        resources = list(_resources(planned.plan, layout))
        if resources:
            files[f"{layout.name}.yaml"] = yaml_text(_task(layout, resources, weights), above=_above(planned, layout))
        else:
            left_out.append(f"{layout.name}: SkyPilot does not rent {layout.rental.chip} from {layout.rental.provider}")
    return files, tuple(left_out)


def _task(layout: Layout, resources: list[dict[str, Any]], weights: WeightsFrom) -> dict[str, Any]:
    task: dict[str, Any] = {"name": layout.name, "resources": {"ordered": resources}}
    if weights.kind == "store":
        task["file_mounts"] = {FOLDER: {"source": weights.at, "mode": "MOUNT"}}
    task["secrets"] = dict.fromkeys(SECRETS)  # a port that SkyPilot opens is open to the world: a key must be given
    task["setup"] = "".join(f"sudo docker pull {image}\n" for image in _images(layout))
    task["run"] = _run(layout, weights)
    return task


def _run(layout: Layout, weights: WeightsFrom) -> str:
    """Starts every replica of the machine, and ends with the first that ends. `-E` lets Docker see the variables."""
    volumes = [] if weights.kind == "image" else ["/root/.cache/huggingface:/root/.cache/huggingface"]
    volumes = [f"{FOLDER}:{FOLDER}:ro"] if weights.kind in ("pvc", "store") else volumes
    started = [f"sudo -E {docker_line(seat.recipe, ('--rm',), volumes)} &\n" for seat in layout.seats]
    return "".join([*started, "wait -n\n"])


def _images(layout: Layout) -> list[str]:
    return list(dict.fromkeys(seat.recipe.image for seat in layout.seats))


def _resources(plan: Plan, layout: Layout) -> Iterator[dict[str, Any]]:
    """The layout's own offer, then the plan's equivalent ones, the cheapest first."""
    ports = sorted(seat.recipe.port for seat in layout.seats)
    for offer in _equivalent(plan, layout):
        provider, region, rest = offer.split(":", 2)
        instance_type, purchase = rest.rsplit(":", 1)
        cloud = load_clusters()[provider].sky_cloud if provider in load_clusters() else ""
        machine = _machine(layout, instance_type)
        if cloud and machine:
            place = cloud if region in ("", "*") else f"{cloud}/{region}"
            yield {"infra": place, **machine, "use_spot": purchase == "spot", "ports": list(ports)}


def _machine(layout: Layout, instance_type: str) -> dict[str, str]:
    """SkyPilot knows machines by instance type, TPUs by their slice; empty where it knows no such slice."""
    chip = layout.rental.chip
    if not chip.startswith("TPU"):
        return {"instance_type": instance_type}
    return {"accelerators": f"{_TPU[chip]}-{layout.rental.chips_per_instance}"} if chip in _TPU else {}


def _equivalent(plan: Plan, layout: Layout) -> list[str]:
    """Offers of the same chip, count and purchase that the plan could have rented. Where the plan limits what one
    supplier carries, another supplier would break that limit, so only the same one's are taken."""
    own, rental = layout.rental.offer, layout.rental
    same_provider = any(limit.kind in _SPREAD_KINDS for limit in plan.limits)
    found = [
        (usd, offer)
        for box in plan.problem.boxes if _like(box, layout) and (not same_provider or box.provider == rental.provider)
        for offer, usd, _ in box.steps if offer != own
    ]  # fmt: skip
    return [own, *(offer for _, offer in sorted(found))]


def _like(box: ProblemBox, layout: Layout) -> bool:
    rental = layout.rental
    return (box.chip, box.chips, box.purchase) == (rental.chip, rental.chips_per_instance, rental.purchase)


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
