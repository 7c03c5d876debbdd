"""From a spec, demand, the catalog and the speed model to the numbers of a problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polyfleet.catalog.store import Catalog
from polyfleet.errors import InfeasibleError, ModelError, SpecError
from polyfleet.plan.batch_hours import BatchRun, shortest_run_h
from polyfleet.plan.headroom import headroom_factor, promised_percentile
from polyfleet.plan.hosted_options import hosted_options
from polyfleet.plan.own_options import FindModel, Reach, nearest_promise, own_options, rentable, seconds_in_flight
from polyfleet.plan.problem import Box, Cap, CapKind, Hosted, Limits, Loss, Need, Option, Problem, Quota
from polyfleet.plan.timeline import Timeline, common_timeline
from polyfleet.speed import SpeedModel
from polyfleet.terms.demand import Bucket, Demand
from polyfleet.terms.model import Model
from polyfleet.terms.spec import Batch, Policy, Spec, Workload


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A problem, with what its numbers stand for: each workload's buckets, and notes for the reader."""

    problem: Problem
    buckets: tuple[tuple[Bucket, ...], ...]
    notes: tuple[str, ...] = ()


def build_problem(
    spec: Spec, demands: Mapping[str, Demand], catalog: Catalog, speed: SpeedModel, find_model: FindModel
) -> Built:
    """The problem that a spec states.

    Raises SpecError where demand is missing, ModelError for an unknown model, CatalogError for an unknown region, and
    InfeasibleError where no offer at all can serve a workload's requests, with the nearest promise that could be kept.
    """
    boxes = rentable(catalog, spec.policy)
    parts = [_part(w, name, spec, demands, catalog, speed, find_model, boxes) for w, name in enumerate(spec.workloads)]
    timeline = common_timeline(
        {p.name: demands[p.name] for p in parts if p.run is None}, {p.name: p.run for p in parts if p.run is not None}
    )
    needs = []
    for part in parts:
        need = _need(part, timeline, demands)
        _refuse_unservable(spec, part, need)
        needs.append(need)
    options = [o for p in parts for o in p.options]
    hosted = [h for p in parts for h in p.hosted]
    limits = _limits(spec, boxes, options, hosted)
    problem = Problem(timeline.windows, timeline.hours, tuple(needs), boxes, tuple(options), tuple(hosted), limits)
    return Built(problem, tuple(p.buckets for p in parts), timeline.notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One workload: its size buckets, what can serve it, and for batch work when it runs."""

    name: str
    buckets: tuple[Bucket, ...]
    reach: Reach | None
    options: list[Option]
    hosted: list[Hosted]
    run: BatchRun | None


def _part(
    w: int, name: str, spec: Spec, demands: Mapping[str, Demand], catalog: Catalog, speed: SpeedModel,
    find_model: FindModel, boxes: tuple[Box, ...],
) -> _Part:  # fmt: skip
    workload = spec.workloads[name]
    if workload.traffic is not None and name not in demands:
        raise SpecError(f"no demand is known for workload {name!r}")
    model = _model(workload, catalog, find_model)
    sizes = _buckets(name, workload, demands)
    reach = _reach(spec.policy, workload, model, sizes)
    mine = [] if reach is None else own_options(w, name, workload, reach, boxes, catalog, speed, spec.policy)
    rent = _rent(w, spec, workload, model, sizes, catalog)
    run = None if workload.batch is None else _batch_run(workload.batch, sizes[0], mine, boxes)
    return _Part(name, sizes, reach, mine, rent, run)


def _batch_run(batch: Batch, bucket: Bucket, options: list[Option], boxes: tuple[Box, ...]) -> BatchRun:
    """As many hours as whole replicas of the build that is cheapest by the request need, within those allowed."""
    requests = batch.input_tokens / max(batch.input.mean, 1.0)
    within_h = batch.within / 3600.0

    def usd_per_request(o: Option) -> float:
        box = boxes[o.box]
        return o.packed_chips / box.chips * box.steps[0].usd_per_hour / float(o.capacity[0])

    able = [o for o in options if o.capacity[0] > 0]
    if able:
        within_h = shortest_run_h(requests, within_h, float(min(able, key=usd_per_request).capacity[0]))
    return BatchRun(bucket, requests, batch.every / 3600.0, within_h)


def _model(workload: Workload, catalog: Catalog, find_model: FindModel) -> Model | None:
    """None for a model that is only sold by the token."""
    try:
        return find_model(workload.model)
    except ModelError:
        if catalog.sold(workload.model):
            return None
        raise


def _buckets(name: str, workload: Workload, demands: Mapping[str, Demand]) -> tuple[Bucket, ...]:
    if workload.batch is None:
        return demands[name].buckets
    batch = workload.batch
    requests = batch.input_tokens / max(batch.input.mean, 1.0)
    return (Bucket(batch.input.mean, max(batch.output_tokens / requests, 1.0)),)


def _reach(policy: Policy, workload: Workload, model: Model | None, buckets: tuple[Bucket, ...]) -> Reach | None:
    if model is None or policy.hosted == "only":
        return None
    slo = workload.slo.slo
    factor = 1.0 if policy.survive is None else policy.survive.slo
    return Reach(model, buckets, slo, slo.relaxed(factor))


def _rent(
    w: int, spec: Spec, workload: Workload, model: Model | None, buckets: tuple[Bucket, ...], catalog: Catalog
) -> list[Hosted]:
    if spec.policy.hosted == "forbidden" and model is not None:
        return []
    name = workload.model if model is None else model.name
    sharers = sum(1 for other in spec.workloads.values() if other.model == workload.model)
    return hosted_options(w, name, buckets, workload.batch is not None, catalog, spec.policy, sharers)


def _need(part: _Part, timeline: Timeline, demands: Mapping[str, Demand]) -> Need:
    tokens = np.array([b.input_tokens + b.output_tokens for b in part.buckets])
    rate = timeline.rates[part.name]
    factor = np.ones(rate.shape[0])
    if part.run is None and part.reach is not None and part.reach.speeds:
        in_flight = rate @ seconds_in_flight(part.reach)
        factor = headroom_factor(in_flight, demands[part.name].dispersion, promised_percentile(part.reach.slo))
    return Need(part.name, rate, factor, tokens, is_batch=part.run is not None)


def _refuse_unservable(spec: Spec, part: _Part, need: Need) -> None:
    name, buckets, reach = part.name, part.buckets, part.reach
    served = np.zeros(len(buckets), dtype=bool)
    for option in part.options:
        served |= option.capacity > 0
    for host in part.hosted:
        served |= np.isfinite(host.usd_per_request)
    wanted = need.rate_per_s.any(axis=0)
    missing = np.flatnonzero(wanted & ~served)
    if not missing.size:
        return
    b = int(missing[np.argmax(need.rate_per_s.sum(axis=0)[missing])])
    bucket, model = buckets[b], spec.workloads[name].model
    nearest = nearest_promise(reach, b) if reach is not None else ""
    promise = _promise(reach)
    text = (
        f"workload {name!r}: no offer serves {model} for requests of {bucket.input_tokens:,.0f} input and "
        f"{bucket.output_tokens:,.0f} output tokens{promise}"
    )
    text += f"; nearest: {nearest}" if nearest else f"; {_nowhere(spec.policy, reach, b)}"
    raise InfeasibleError(text, clash=(f"promise of {name}",), nearest=nearest or None)


def _nowhere(policy: Policy, reach: Reach | None, b: int) -> str:
    """Why there is not even a nearest promise."""
    sold = (
        "`hosted: forbidden` rules hosts out"
        if policy.hosted == "forbidden"
        else "no host that the policy allows sells it"
    )
    if reach is None:
        return f"only hosts are allowed (`hosted: {policy.hosted}`, or the model is closed), and {sold}"
    if reach.too_long(b):
        return f"such requests are longer than the model's context of {reach.model.max_context_tokens:,} tokens"
    return f"it fits on no chip that the policy's regions, exclusions and terms leave, and {sold}"


def _promise(reach: Reach | None) -> str:
    if reach is None:
        return ""
    parts = [f"TTFT {reach.slo.ttft_ms:,.0f} ms p{reach.slo.ttft_percentile:g}"] if reach.slo.ttft_ms else []
    parts += [f"TPOT {reach.slo.tpot_ms:,.0f} ms p{reach.slo.tpot_percentile:g}"] if reach.slo.tpot_ms else []
    return f" under {' and '.join(parts)}" if parts else ""


def _limits(spec: Spec, boxes: tuple[Box, ...], options: list[Option], hosted: list[Hosted]) -> Limits:
    """Caps and losses by name, over the suppliers that anything could come from."""
    policy = spec.policy
    suppliers = {boxes[o.box].supplier for o in options} | {h.supplier for h in hosted}
    everyone = tuple(range(len(spec.workloads)))
    caps: list[Cap] = []
    kinds: tuple[tuple[CapKind, float | None], ...] = (
        ("provider", policy.max_share.provider), ("chip_vendor", policy.max_share.chip_vendor),
        ("region", policy.max_share.region),
    )  # fmt: skip
    for kind, share in kinds:
        if share is not None and share < 1:
            caps += [Cap(kind, n, share, everyone) for n in sorted({s.named(kind) for s in suppliers})]
    if 0 < policy.spot.max_share < 1:
        names = list(spec.workloads)
        within = tuple(names.index(n) for n in policy.spot.within) or everyone
        caps.append(Cap("spot", "spot", policy.spot.max_share, within))
    losses: list[Loss] = []
    for lost in policy.survive.lose if policy.survive else ():
        losses += [Loss(lost, n) for n in sorted({s.named(lost) for s in suppliers})]
    quotas = tuple(Quota(p, c, n) for p, by_chip in policy.quotas.items() for c, n in by_chip.items())
    keep = policy.survive.keep if policy.survive else 1.0
    return Limits(tuple(caps), tuple(dict.fromkeys(losses)), keep, quotas, policy.budget)
