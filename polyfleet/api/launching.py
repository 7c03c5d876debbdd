"""What `up` brings up: a spec's replicas on this machine, or those of its plan at the places it names."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from polyfleet.api.load import catalog_of, find_model, folder_of
from polyfleet.api.names import canonical
from polyfleet.api.planning import load_plan, make_plan, save_plan
from polyfleet.errors import InputError, PlanFileError, SpecError
from polyfleet.files import make_folder
from polyfleet.launch import desired
from polyfleet.launch.engines import ENGINE_KEY
from polyfleet.launch.from_plan import Where, replicas_of_plan
from polyfleet.launch.manifests import Choice, plan_fleet
from polyfleet.launch.manifests.fleet import Planned
from polyfleet.launch.manifests.weights_from import parse_weights_from
from polyfleet.launch.where import place_chooser
from polyfleet.terms.fleet import ReplicaSpec
from polyfleet.terms.launch_section import On
from polyfleet.terms.plan import Plan
from polyfleet.terms.spec_text import SpecSource

_SAME_PRICE = 0.005


@dataclass(frozen=True, slots=True)
class Asked:
    """The replicas to run. `planned`: the plan's window that they are of, None where the spec's `local:` is run."""

    replicas: tuple[ReplicaSpec, ...]
    planned: Planned | None = None
    left_out: tuple[str, ...] = ()


def is_planned(source: SpecSource, on: On | None) -> bool:
    """Whether the spec's plan is brought up, and not its `local:` section."""
    return on is not None or source.spec.launch.on is not None or bool(source.spec.launch.places)


def local_fleet(source: SpecSource, home: Path) -> Asked:
    """The `local:` section, and the endpoints that the spec names. Raises InputError with the spec's line."""
    from polyfleet.launch.endpoint import endpoint_replicas

    own = desired.replicas_of(source, home) if source.spec.local or not source.spec.launch.endpoints else ()
    made = (*own, *endpoint_replicas(source.spec, None, 0, folder_of(source), os.environ))
    _refuse_double_ids(source, made)
    served = {spec.workload for spec in made}
    left = tuple(f"{name}: neither in `local:` nor an endpoint" for name in source.spec.workloads if name not in served)
    return Asked(made, None, left)


def planned_fleet(source: SpecSource, plan: Plan, on: On | None, environment: Mapping[str, str] = os.environ) -> Asked:
    """All of a plan in the window that the spec chooses: own lines at their places, hosts and endpoints as routes.

    Raises InputError with the spec's line, LaunchError, UnservableError where a line cannot be run.
    """
    from polyfleet.launch.endpoint import endpoint_replicas

    launch = source.spec.launch
    _refuse_unknown_providers(source)
    try:
        weights = parse_weights_from(launch.weights_from)
    except InputError as error:
        raise error.at(source.file, source.line_of("launch", "weights_from")) from None
    choice = Choice(launch.weights, launch.window, weights.folder, launch.engines)
    planned = plan_fleet(plan, choice, partial(find_model, folder=folder_of(source)))
    where = Where(place_chooser(launch, on), weights, launch.secret, bool(environment.get(ENGINE_KEY)))
    folder = folder_of(source)
    sold = catalog_of(source, folder).hosted if any(line.kind == "hosted" for line in plan.lines) else ()
    hosts = endpoint_replicas(source.spec, plan, planned.window, folder, environment, hosted=sold)
    made = (*replicas_of_plan(planned, where), *hosts)
    _refuse_double_ids(source, made)
    return Asked(made, planned)


def plan_for(source: SpecSource, home: Path, tell: Callable[[str], None]) -> Plan:
    """The spec's plan: the one kept in the home while nothing that it was made from has changed, else a new one, which
    is then kept."""
    key = _key(source)
    kept = home / "plans" / f"{key}.json"
    if kept.exists():
        try:
            return load_plan(kept)
        except PlanFileError:
            kept.unlink()
    plan = make_plan(source, progress=tell)
    make_folder(kept.parent)
    save_plan(plan, kept)
    for older in kept.parent.glob("*.json"):
        if older != kept:
            older.unlink(missing_ok=True)
    return plan


def require_current(plan: Plan, source: SpecSource, *, stale: bool) -> None:
    """Raises PlanFileError where a plan was made for another spec, or, unless `stale`, where an offer that it rents
    has another price in the catalog by now, or is gone from it."""
    catalog = catalog_of(source, folder_of(source))
    if plan.spec_digest != canonical(source, catalog).spec.digest:
        raise PlanFileError(
            "the plan was made for another spec, or the spec was changed since", hint="make it again: `polyfleet plan`"
        )
    if stale or plan.catalog_digest == catalog.digest:
        return
    offers = {offer.id: offer for offer in catalog.offers}
    for rental in plan.rentals:
        offer = offers.get(rental.offer)
        now = None if offer is None else offer.usd_per_hour
        if now is None or abs(now - rental.usd_per_hour) > _SAME_PRICE * rental.usd_per_hour:
            told = "is in the catalog no more" if now is None else f"costs {now:,.2f} USD/h by now"
            raise PlanFileError(
                f"the plan was made with an older catalog: {rental.offer}, planned at {rental.usd_per_hour:,.2f} "
                f"USD/h, {told}", hint="plan again, or launch it as it is with --stale",
            )  # fmt: skip


def _refuse_unknown_providers(source: SpecSource) -> None:
    """A place whose provider is misspelt fits no line: its lines would be asked of somebody else."""
    from polyfleet.catalog.search import find_provider

    named = [(n, place.provider) for n, place in enumerate(source.spec.launch.places) if place.provider is not None]
    catalog = catalog_of(source, folder_of(source)) if named else None
    for n, provider in named:
        assert catalog is not None
        try:
            find_provider(catalog, provider)
        except InputError as error:
            raise error.at(source.file, source.line_of("launch", "places", n, "provider")) from None


def _refuse_double_ids(source: SpecSource, replicas: tuple[ReplicaSpec, ...]) -> None:
    double = next((one for one, count in Counter(spec.id for spec in replicas).items() if count > 1), None)
    if double is not None:
        raise SpecError(
            "two replicas would have the same id", file=source.file, line=source.line_of("launch", "endpoints"),
            value=double, hint="give the endpoint or the workload another name",
        )  # fmt: skip


def _key(source: SpecSource) -> str:
    """Changes with the spec, its traces, the catalog and the user's own measurements."""
    from polyfleet import __version__
    from polyfleet.settings import Settings

    folder = folder_of(source)
    catalog = catalog_of(source, folder)
    files = [folder / w.traffic.trace for w in source.spec.workloads.values() if w.traffic and w.traffic.trace]
    parts = [__version__, canonical(source, catalog).spec.digest, catalog.digest]
    for file in (*files, Settings.from_environment().measurements):
        try:
            seen = file.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SpecError(f"{file}: {error.strerror}", file=source.file) from None
        parts.append(f"{file}:{seen.st_size}:{seen.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
