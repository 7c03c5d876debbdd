"""A problem to its document form, and back."""

from __future__ import annotations

import math

import numpy as np

from polyfleet.plan.problem import (
    Box,
    Cap,
    Floats,
    Hosted,
    Limits,
    Loss,
    Need,
    Option,
    Problem,
    Quota,
    Step,
    Supplier,
)  # fmt: skip
from polyfleet.terms.build import Build
from polyfleet.terms.evidence import Evidence
from polyfleet.terms.offer import Purchase
from polyfleet.terms.plan import ProblemBox, ProblemBuild, ProblemFile, ProblemHost, ProblemLimits, ProblemNeed
from polyfleet.terms.precision import Precision


def to_file(problem: Problem) -> ProblemFile:
    """The document of a problem; builds are written once however many boxes they fit."""
    builds: dict[tuple[int, Build], int] = {}
    written: list[ProblemBuild] = []
    options = []
    for option in problem.options:
        key = (option.workload, option.build)
        if key not in builds:
            builds[key] = len(written)
            written.append(_build(option))
        options.append((option.box, builds[key], option.packed_chips))
    return ProblemFile(
        windows=problem.windows,
        hours=_numbers(problem.hours),
        needs=tuple(_need(n) for n in problem.needs),
        boxes=tuple(_box(b) for b in problem.boxes),
        builds=tuple(written),
        options=tuple(options),
        hosted=tuple(_host(h) for h in problem.hosted),
        limits=_limits(problem.limits),
    )


def from_file(file: ProblemFile) -> Problem:
    """The problem of a document."""
    limits = file.limits
    return Problem(
        file.windows,
        np.array(file.hours),
        tuple(_read_need(n) for n in file.needs),
        tuple(_read_box(b) for b in file.boxes),
        tuple(_read_option(box, file.builds[build], packed) for box, build, packed in file.options),
        tuple(_read_host(h) for h in file.hosted),
        Limits(
            tuple(Cap(kind, supplier, share, who) for kind, supplier, share, who in limits.caps),  # type: ignore[arg-type]  # words of the file, checked by its model
            tuple(Loss(kind, supplier) for kind, supplier in limits.losses),  # type: ignore[arg-type]  # words of the file, checked by its model
            limits.keep,
            tuple(Quota(*q) for q in limits.quotas),
            limits.budget_usd_per_month,
        ),
    )


def _build(option: Option) -> ProblemBuild:
    b = option.build
    return ProblemBuild(
        workload=option.workload, model=b.model, chip=b.chip, tp=b.tp, pp=b.pp, ep=b.ep, dp=b.dp, engine=b.engine,
        precision=b.precision, kv_precision=b.kv_precision, capacity=_numbers(option.capacity),
        capacity_lost=_numbers(option.capacity_lost), band=option.band, evidence=option.evidence,
    )  # fmt: skip


def _read_option(box: int, b: ProblemBuild, packed: int) -> Option:
    build = Build(b.model, b.chip, b.tp, b.engine, Precision(b.precision), Precision(b.kv_precision), b.pp, b.ep, b.dp)
    capacity, lost = np.array(b.capacity), np.array(b.capacity_lost)
    return Option(b.workload, box, build, packed, capacity, lost, b.band, Evidence(b.evidence))


def _need(n: Need) -> ProblemNeed:
    return ProblemNeed(
        name=n.name, rate_per_s=tuple(_numbers(r) for r in n.rate_per_s), headroom=_numbers(n.headroom),
        tokens=_numbers(n.tokens), is_batch=n.is_batch,
    )  # fmt: skip


def _read_need(n: ProblemNeed) -> Need:
    rate = np.array(n.rate_per_s, dtype=float).reshape(len(n.headroom), len(n.tokens))
    return Need(n.name, rate, np.array(n.headroom), np.array(n.tokens), n.is_batch)


def _box(b: Box) -> ProblemBox:
    return ProblemBox(
        provider=b.supplier.provider, chip_vendor=b.supplier.chip_vendor, region=b.supplier.region, chip=b.chip,
        chips=b.chips, purchase=b.purchase, steps=tuple((s.offer_id, s.usd_per_hour, s.quota) for s in b.steps),
    )  # fmt: skip


def _read_box(b: ProblemBox) -> Box:
    supplier = Supplier(b.provider, b.chip_vendor, b.region)
    return Box(supplier, b.chip, b.chips, Purchase(b.purchase), tuple(Step(*s) for s in b.steps))


def _host(h: Hosted) -> ProblemHost:
    return ProblemHost(
        workload=h.workload, provider=h.supplier.provider, chip_vendor=h.supplier.chip_vendor,
        region=h.supplier.region, offer=h.offer_id, usd_per_request=_finite(h.usd_per_request),
        limit_per_s=_finite(h.limit_per_s),
    )  # fmt: skip


def _read_host(h: ProblemHost) -> Hosted:
    supplier = Supplier(h.provider, h.chip_vendor, h.region)
    return Hosted(h.workload, supplier, h.offer, _infinite(h.usd_per_request), _infinite(h.limit_per_s))


def _limits(limits: Limits) -> ProblemLimits:
    return ProblemLimits(
        caps=tuple((c.kind, c.supplier, c.share, c.workloads) for c in limits.caps),
        losses=tuple((s.kind, s.supplier) for s in limits.losses),
        keep=limits.keep,
        quotas=tuple((q.provider, q.chip, q.chips) for q in limits.quotas),
        budget_usd_per_month=limits.budget_usd_per_month,
    )


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _finite(values: Floats) -> tuple[float | None, ...]:
    return tuple(float(v) if math.isfinite(v) else None for v in values)


def _infinite(values: tuple[float | None, ...]) -> Floats:
    return np.array([math.inf if v is None else v for v in values], dtype=float)
