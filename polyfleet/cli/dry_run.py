"""`polyfleet up --dry-run`: what would be asked of whom, at what price."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from polyfleet.cli.terminal import console, table
from polyfleet.launch.manifests.images_in import images_of

if TYPE_CHECKING:
    from polyfleet.api.launching import Asked
    from polyfleet.terms.fleet import ReplicaSpec


def print_dry_run(asked: Asked, *, as_json: bool) -> None:
    """The replicas by place and line; whole, with all that each place would be handed, as JSON."""
    if as_json:
        typer.echo(json.dumps([_row(spec) for spec in asked.replicas], indent=1))
        return
    out = console()
    usd_per_hour = sum(spec.usd_per_hour for spec in asked.replicas)
    what = "this machine's part of the spec"
    if asked.planned is not None:
        what = f"plan {asked.planned.digest}, window {asked.planned.plan.windows[asked.planned.window].name}"
    rented = _rented_usd_per_hour(asked)
    of = f" of {rented:,.2f} for whole machines" if rented > usd_per_hour + 0.005 else ""
    heading = f"{what}: {len(asked.replicas)} replicas, {usd_per_hour:,.2f} USD/h{of}; nothing was touched"
    shown = table(heading, ("asked of", "for", "as", "image or address", ">replicas", ">price"))
    for specs in _alike(asked.replicas):
        first = specs[0]
        shown.add_row(first.place, first.workload, _offer(first), _what(first), str(len(specs)), _price(specs))
    out.print(shown)
    for line in _notes(asked):
        out.print(line)


def _rented_usd_per_hour(asked: Asked) -> float:
    """Of the machines as they are rented: the plan may leave chips of one idle. A replica may span several."""
    if asked.planned is None:
        return 0.0
    nodes = {line.line.id: line.ask.nodes for line in asked.planned.lines}
    return sum(m.rental.usd_per_hour * max(nodes[line] for line, _, _ in m.held) for m in asked.planned.machines)


def _alike(replicas: Sequence[ReplicaSpec]) -> Iterator[list[ReplicaSpec]]:
    """Replicas of one line: their ids differ by their number."""
    for _, group in groupby(replicas, key=lambda spec: (spec.place, spec.offer, spec.id.rpartition("-")[0])):
        yield list(group)


def _offer(spec: ReplicaSpec) -> str:
    return spec.offer.removesuffix(":on_demand") if spec.place != "local" else spec.engine


def _price(specs: Sequence[ReplicaSpec]) -> str:
    """By the hour for all of them, or by the token."""
    first = specs[0]
    if first.usd_per_m_input or first.usd_per_m_output:
        return f"{first.usd_per_m_input:,.2f} in, {first.usd_per_m_output:,.2f} out $/M tok"
    return f"{sum(spec.usd_per_hour for spec in specs):,.2f} $/h"


def _what(spec: ReplicaSpec) -> str:
    return spec.url or ", ".join(images_of(spec.manifest)) or spec.weights


def _notes(asked: Asked) -> Iterator[str]:
    from polyfleet.terms.fleet import SKY

    rented = [spec for spec in asked.replicas if spec.place == SKY]
    for specs in _alike(rented):
        others = specs[0].offers[1:]
        if others:
            first, last = others[0], others[-1]
            span = (
                f"{first.usd_per_hour:,.2f}"
                if len(others) == 1
                else f"{first.usd_per_hour:,.2f} to {last.usd_per_hour:,.2f}"
            )
            yield f"if {specs[0].offer} is refused, in this order: {_names(others)} ({span} USD/h a machine)"
    if rented:
        yield "ports that SkyPilot opens face the world: VLLM_API_KEY must be set, and is what the endpoint uses"
    for told in asked.left_out:
        yield f"not run: {told}"
    yield "all of it, as it would be handed over: --json"


def _names(offers: Sequence[object]) -> str:
    names = [getattr(offer, "offer", "") for offer in offers]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _row(spec: ReplicaSpec) -> dict[str, object]:
    """A replica's spec, with what its place is handed as it is and not as text."""
    row = spec.model_dump(mode="json", exclude_defaults=True)
    if spec.manifest:
        row["manifest"] = json.loads(spec.manifest)
    if spec.offers:
        row["offers"] = [{**o.model_dump(mode="json"), "resources": json.loads(o.resources)} for o in spec.offers]
    return row
