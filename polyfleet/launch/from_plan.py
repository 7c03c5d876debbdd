"""A plan's own lines as replicas to run, each with what the driver of its place asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.images import image_for
from polyfleet.errors import LaunchError
from polyfleet.launch.engines import ENGINE_KEY
from polyfleet.launch.manifests.boxes import Machine
from polyfleet.launch.manifests.fleet import Planned, PlannedLine, slug
from polyfleet.launch.manifests.kubernetes import InCluster, budget, replica_objects
from polyfleet.launch.manifests.rentable import offers_of
from polyfleet.launch.manifests.sky_task import replica_task
from polyfleet.launch.manifests.weights_from import WeightsFrom
from polyfleet.launch.recipes import LaunchRecipe
from polyfleet.terms.fleet import SKY, PricedOffer, ReplicaSpec
from polyfleet.terms.plan import Line

_LEAST_START_S = 1800.0
_MACHINE_S = 900.0
"""So long a machine may take to come before its engine starts."""
_FIRST_PORT = 8000


@dataclass(frozen=True, slots=True)
class Where:
    """Where a plan's lines run: the place of each, where weights come from, the Kubernetes secret that holds tokens.
    `has_key`: whether the engines' key is in this environment, for the gate to use."""

    place_of: Callable[[Line], str]
    weights: WeightsFrom
    secret: str = "polyfleet"
    has_key: bool = False


def replicas_of_plan(planned: Planned, where: Where) -> tuple[ReplicaSpec, ...]:
    """The replicas of the plan's own lines in its window.

    Raises LaunchError where a line cannot run at its place, UnservableError where its engine cannot.
    """
    _refuse_not_rented(planned, where.place_of)
    stands = {replica: machine for machine in planned.machines for _, replica, _ in machine.held}
    made: list[ReplicaSpec] = []
    for line in planned.lines:
        place = where.place_of(line.line)
        if place == SKY:
            _refuse_sky(line, where.weights)
            offers = offers_of(planned.plan, line.rental)
            made += [_on_sky(planned, line, stands[r], r, offers, where) for r in line.replicas]
        else:
            objects = replica_objects(planned, line, InCluster(where.weights, where.secret))
            shared = [budget(line)] if len(line.replicas) > 1 else []
            key = {"key_env": ENGINE_KEY if where.has_key else None}
            made += [_spec(planned, line, r, line.recipe, place, [objects[r], *shared], key) for r in line.replicas]
    return tuple(made)


def _on_sky(
    planned: Planned, line: PlannedLine, machine: Machine, replica: str, offers: tuple[PricedOffer, ...], where: Where
) -> ReplicaSpec:
    """A replica on a machine that SkyPilot rents, beside those that the plan puts on the same one."""
    seats = [held for _, held, _ in machine.held]
    port = _FIRST_PORT + seats.index(replica)
    first_chip = next(chip for _, held, chip in machine.held if held == replica)
    ports = [_FIRST_PORT + n for n in range(len(seats))]
    shared = line.build.chips < machine.rental.chips_per_instance
    recipe = line.at(replace(line.ask, first_chip=first_chip, port=port, shared=shared))
    task = replica_task(replica, recipe, ports, where.weights)
    also = {"machine": _machine_name(machine) if len(seats) > 1 else "", "offers": offers, "key_env": ENGINE_KEY}
    return _spec(planned, line, replica, recipe, SKY, task, also)


def _machine_name(machine: Machine) -> str:
    """Stays the same while the plan rents the offer, whichever replicas stand on it."""
    mark = hashlib.sha256(machine.rental.offer.encode()).hexdigest()[:6]
    return f"{slug(machine.rental.instance_type, 20)}-{mark}-{machine.number}"


def _spec(
    planned: Planned, line: PlannedLine, replica: str, recipe: LaunchRecipe, place: str, manifest: Any,
    also: Mapping[str, Any],
) -> ReplicaSpec:  # fmt: skip
    own, rental = line.own, line.rental
    speaks = own.speaks or image_for(find_chip(line.line.chip), line.build.engine).speaks
    return ReplicaSpec(
        id=replica, workload=line.line.workload, served=line.ask.names, engine=speaks,
        weights=line.loads, slots=recipe.slots, context_tokens=recipe.context_tokens, provider=line.line.provider,
        chip=line.line.chip, region=line.line.region, offer=rental.offer,
        usd_per_hour=rental.usd_per_hour * line.line.chips_per_replica / rental.chips_per_instance,
        upstream_model=own.model if own.command else recipe.served[0], health=recipe.health, place=place,
        manifest=json.dumps(manifest, sort_keys=True), shares=_shares(planned, line), buckets=_buckets(planned, line),
        start_s=max(_LEAST_START_S, 2.0 * (recipe.cold_start_s or 0)) + _MACHINE_S, **also,
    )  # fmt: skip


def _shares(planned: Planned, line: PlannedLine) -> tuple[float, ...]:
    """One replica's requests a second by bucket, as the plan sends them in its window; empty where the plan has no
    buckets."""
    shares = [0.0] * len(_buckets(planned, line))
    for route in planned.plan.routes:
        if route.line == line.line.id and route.window == planned.window:
            shares[route.bucket] += route.requests_per_s / len(line.replicas)
    return tuple(shares)


def _buckets(planned: Planned, line: PlannedLine) -> tuple[tuple[float, float], ...]:
    workload = next(w for w in planned.plan.workloads if w.name == line.line.workload)
    return tuple((b.input_tokens, b.output_tokens) for b in workload.buckets)


def _refuse_sky(line: PlannedLine, weights: WeightsFrom) -> None:
    if line.ask.nodes > 1:
        raise LaunchError(
            f"line {line.line.id}: {line.line.build} spans {line.ask.nodes} machines, which runs on Kubernetes alone; "
            "give its provider a place under `launch: places:`, or exclude the chip"
        )
    if weights.kind == "pvc":
        raise LaunchError(
            f"line {line.line.id}: `weights_from: pvc:{weights.at}` is a claim of Kubernetes, and this line is rented "
            "through SkyPilot; write hub, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or image:/FOLDER"
        )


def _refuse_not_rented(planned: Planned, place_of: Callable[[Line], str]) -> None:
    """All of them at once: each costs a new plan."""
    lines = [p for p in planned.lines if place_of(p.line) == SKY and not offers_of(planned.plan, p.rental)]
    if lines:
        told = ", ".join(f"line {p.line.id} ({p.line.chip} at {p.line.provider})" for p in lines)
        providers = ", ".join(sorted({p.line.provider for p in lines}))
        raise LaunchError(
            f"SkyPilot does not rent {told}; give {providers} a place under `launch: places:` (on: kubernetes), or "
            f"plan again without: `policy: exclude: {{provider: [{providers}]}}`"
        )
