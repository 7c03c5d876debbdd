"""The lines of a plan: who serves a workload, on what, and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polyfleet.catalog.store import Catalog
from polyfleet.plan.fleet import Fleet, Flow
from polyfleet.plan.master import all_hours_steps
from polyfleet.plan.problem import Box, Floats, month_hours
from polyfleet.terms.build import Build
from polyfleet.terms.offer import HostedOffer, Offer
from polyfleet.terms.plan import Line


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The lines, and for each workload the line id of its options (`own[w][o]`) and hosts (`hosted[w][h]`)."""

    lines: tuple[Line, ...]
    own: tuple[dict[int, int], ...]
    hosted: tuple[dict[int, int], ...]


def build_text(build: Build) -> str:
    """A build in words that tell it from every other build of the same model."""
    parts = [f"{build.chips}x{build.chip}", str(build.precision), build.engine, f"tp{build.tp}"]
    parts += [f"pp{build.pp}"] if build.pp > 1 else []
    parts += [f"dp{build.dp}"] if build.dp > 1 else []
    parts += [f"ep{build.ep}"] if build.ep > 1 else []
    parts += [f"kv-{build.kv_precision}"] if build.kv_precision != "bf16" else []
    return " ".join(parts)


def workload_tokens(fleet: Fleet, w: int) -> float:
    """Tokens of a workload served in a month."""
    return fleet.problem.needs[w].tokens_per_month(fleet.problem.hours)


def line_up(fleet: Fleet, catalog: Catalog | None) -> Lines:
    """Every option with replicas and every host with requests, in the base case or in a loss."""
    offers: Mapping[str, Offer] = {o.id: o for o in catalog.offers} if catalog else {}
    hosts: Mapping[str, HostedOffer] = {h.id: h for h in catalog.hosted} if catalog else {}
    lines: list[Line] = []
    own: list[dict[int, int]] = []
    hosted: list[dict[int, int]] = []
    parts = box_parts(fleet)
    for w, stack in enumerate(fleet.stacks):
        own.append({})
        hosted.append({})
        for o in np.flatnonzero(fleet.replicas[w].any(axis=0)):
            own[w][int(o)] = len(lines)
            lines.append(_own_line(fleet, w, int(o), len(lines), float(parts[w][o]), offers))
        for h in np.flatnonzero(_hosts_used(fleet, w)):
            hosted[w][int(h)] = len(lines)
            lines.append(_hosted_line(fleet, w, int(h), len(lines), hosts))
        assert len(own[w]) + len(hosted[w]) > 0 or stack.need.tokens_per_month(fleet.problem.hours) == 0
    return Lines(tuple(lines), tuple(own), tuple(hosted))


def box_parts(fleet: Fleet) -> list[Floats]:
    """Per workload (O,) USD a month: each box's cost, split by the chip-hours that replicas take of it."""
    problem, hours = fleet.problem, fleet.problem.hours
    usd = np.zeros(len(problem.boxes))
    fixed, k = all_hours_steps(problem), 0
    for b, box in enumerate(problem.boxes):
        for step in box.steps:
            paid = fleet.steps[0, k] * month_hours(problem) if fixed[k] else fleet.steps[:, k] @ hours
            usd[b] += float(paid) * step.usd_per_hour
            k += 1
    used = [stack.packed * (hours @ fleet.replicas[w]) for w, stack in enumerate(fleet.stacks)]
    total = np.zeros(len(problem.boxes))
    for w, stack in enumerate(fleet.stacks):
        np.add.at(total, stack.box, used[w])
    return [used[w] * usd[s.box] / np.maximum(total[s.box], 1e-300) for w, s in enumerate(fleet.stacks)]


def _hosts_used(fleet: Fleet, w: int) -> Floats:
    """(H,) requests in the base case and in the losses, added up."""
    flows = [row[w] for row in fleet.base] + [row[w] for rows in fleet.lost.values() for row in rows]
    return np.asarray(np.sum([f.hosted.sum(axis=1) for f in flows], axis=0))


def _tokens(fleet: Fleet, w: int, of: str, i: int) -> float:
    """Tokens a month that one option or host of a workload serves."""
    tokens = fleet.stacks[w].need.tokens
    rows: list[Flow] = [row[w] for row in fleet.base]
    served = [float(getattr(f, of)[i] @ tokens) for f in rows]
    return float(fleet.problem.hours @ np.array(served)) * 3600.0


def _own_line(fleet: Fleet, w: int, o: int, number: int, usd: float, offers: Mapping[str, Offer]) -> Line:
    option = fleet.problem.options[fleet.stacks[w].options[o]]
    box: Box = fleet.problem.boxes[option.box]
    tokens = _tokens(fleet, w, "own", o)
    first = offers.get(box.steps[0].offer_id)
    return Line(
        id=number, kind="own", workload=fleet.problem.needs[w].name, offers=_rented_offers(fleet, option.box),
        provider=box.supplier.provider, chip_vendor=box.supplier.chip_vendor,
        region=box.supplier.region or (first.region if first else ""), purchase=box.purchase, chip=box.chip,
        chips_per_replica=option.build.chips, build=build_text(option.build), engine=option.build.engine,
        precision=option.build.precision, replicas=tuple(int(n) for n in fleet.replicas[w][:, o]),
        traffic_share=tokens / max(workload_tokens(fleet, w), 1e-300), usd_per_month=usd,
        usd_per_million_tokens=usd / tokens * 1e6 if tokens > 0 else None, speed_p10=option.band[0],
        speed_p90=option.band[1], speed_evidence=option.evidence, price_as_of=first.as_of if first else "",
        price_source=first.source if first else "",
    )  # fmt: skip


def _rented_offers(fleet: Fleet, b: int) -> tuple[str, ...]:
    before = sum(len(x.steps) for x in fleet.problem.boxes[:b])
    steps = fleet.problem.boxes[b].steps
    return tuple(s.offer_id for i, s in enumerate(steps) if fleet.steps[:, before + i].any())


def _hosted_line(fleet: Fleet, w: int, h: int, number: int, hosts: Mapping[str, HostedOffer]) -> Line:
    host = fleet.problem.hosted[fleet.stacks[w].hosted[h]]
    tokens = _tokens(fleet, w, "hosted", h)
    spend = np.where(np.isfinite(host.usd_per_request), host.usd_per_request, 0.0)
    per_s = np.array([float(row[w].hosted[h] @ spend) for row in fleet.base])
    usd = float(fleet.problem.hours @ per_s) * 3600.0
    offer = hosts.get(host.offer_id)
    return Line(
        id=number, kind="hosted", workload=fleet.problem.needs[w].name, offers=(host.offer_id,),
        provider=host.supplier.provider, chip_vendor=host.supplier.chip_vendor,
        region=host.supplier.region or (offer.region if offer else ""), purchase="per_token",
        traffic_share=tokens / max(workload_tokens(fleet, w), 1e-300), usd_per_month=usd,
        usd_per_million_tokens=usd / tokens * 1e6 if tokens > 0 else None, speed_evidence="assumed",
        price_as_of=offer.as_of if offer else "", price_source=offer.source if offer else "",
        vendor_evidence=offer.chip_vendor_evidence if offer else "listed",
    )  # fmt: skip
