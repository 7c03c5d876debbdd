"""Does a plan keep what it promises? Written without the solver's code: it reads the document and counts.

The plan carries who serves what, in the base case and in every loss; the check adds that up against the problem.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from polyfleet.plan.document_lines import build_text
from polyfleet.plan.problem import Cap, Hosted, Loss, Option, Problem
from polyfleet.terms.plan import Line, LossRow, Plan, Route

TOLERANCE = 1e-5


def check_plan(plan: Plan, problem: Problem) -> list[str]:
    """Everything that is wrong with a plan, in words; empty where all holds."""
    reader = _Reader(plan, problem)
    if reader.unknown:
        return reader.unknown
    return [
        *_rentals(plan, problem),
        *_packing(reader),
        *_served(reader, plan.routes, None),
        *_losses(reader),
        *_caps(reader),
        *_money(reader),
    ]


class _Reader:
    """The document's lines, found again in the problem."""

    def __init__(self, plan: Plan, problem: Problem) -> None:
        self.plan, self.problem = plan, problem
        self.unknown: list[str] = []
        self.names = [n.name for n in problem.needs]
        self.box_of = {s.offer_id: b for b, box in enumerate(problem.boxes) for s in box.steps}
        self.options: dict[int, Option] = {}
        self.hosts: dict[int, Hosted] = {}
        for line in plan.lines:
            self._find(line)

    def _find(self, line: Line) -> None:
        w = self.names.index(line.workload)
        if line.kind == "hosted":
            rent = [h for h in self.problem.hosted if h.workload == w and h.offer_id == line.offers[0]]
            if rent:
                self.hosts[line.id] = rent[0]
            else:
                self.unknown.append(f"line {line.id}: no such hosted offer: {line.offers}")
            return
        boxes = {self.box_of.get(o) for o in line.offers}
        mine = [o for o in self.problem.options if o.workload == w and o.box in boxes]
        own = [o for o in mine if build_text(o.build) == line.build]
        if len(boxes) == 1 and len(own) == 1:
            self.options[line.id] = own[0]
        else:
            self.unknown.append(f"line {line.id}: {line.build} is no build that the catalog allows on {line.offers}")

    def supplier(self, line: int, kind: str) -> str:
        option = self.options.get(line)
        found = self.problem.boxes[option.box].supplier if option else self.hosts[line].supplier
        return found.named(kind)


def _rentals(plan: Plan, problem: Problem) -> Iterator[str]:
    steps = {s.offer_id: (box, s) for box in problem.boxes for s in box.steps}
    chips: dict[tuple[str, str], np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for rental in plan.rentals:
        if rental.offer not in steps:
            yield f"{rental.offer} is no offer of the problem"
            continue
        box, step = steps[rental.offer]
        if any(n < 0 for n in rental.instances):
            yield f"{rental.offer}: fewer than no instances"
        if step.quota is not None and max(rental.instances) > step.quota:
            yield f"{rental.offer}: {max(rental.instances)} instances, {step.quota} to be had"
        if box.all_hours and len(set(rental.instances)) > 1:
            yield f"{rental.offer}: is paid for all hours but follows the day"
        key = (box.supplier.provider, box.chip)
        chips[key] = chips.get(key, np.zeros(len(problem.windows))) + np.array(rental.instances) * float(box.chips)
    for quota in problem.limits.quotas:
        used = chips.get((quota.provider, quota.chip))
        if used is not None and used.max() > quota.chips:
            yield f"{quota.name}: {used.max():g} chips of {quota.chips}"


def _packing(reader: _Reader) -> Iterator[str]:
    """First fit, largest first: the replicas of each box must find room in its instances."""
    rented: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
    for rental in reader.plan.rentals:
        b = reader.box_of.get(rental.offer)
        if b is not None:
            rented[b] = rented.get(b, np.zeros(len(rental.instances), dtype=np.int64)) + np.array(rental.instances)
    for t in range(len(reader.problem.windows)):
        sizes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for line, option in reader.options.items():
            count = reader.plan.lines[line].replicas[t]
            if count < 0:
                yield f"line {line}: fewer than no replicas"
            sizes[option.box].append((option.build.chips, count))
        for b, wanted in sizes.items():
            have = int(rented[b][t]) if b in rented else 0
            if not _fits(wanted, have, reader.problem.boxes[b].chips):
                chips = reader.problem.boxes[b].chips
                yield f"window {t}: replicas {wanted} do not fit {have} instances of {chips} chips"


def _fits(wanted: Sequence[tuple[int, int]], instances: int, chips: int) -> bool:
    room = {chips: instances}  # free chips -> instances with that much room
    for size, count in sorted(wanted, reverse=True):
        left = count
        for free in sorted(f for f in room if f >= size):
            while left > 0 and room.get(free, 0) > 0:
                per = free // size
                whole = min(room[free], left // per)
                if whole:
                    room[free] -= whole
                    room[free - per * size] = room.get(free - per * size, 0) + whole
                    left -= whole * per
                else:
                    room[free] -= 1
                    room[free - left * size] = room.get(free - left * size, 0) + 1
                    left = 0
        if left > 0:
            return False
    return True


def _served(reader: _Reader, routes: Sequence[Route], loss: Loss | None) -> Iterator[str]:
    """Demand met, replicas and hosts within what they can carry, in the base case or in a loss."""
    problem = reader.problem
    what = "base" if loss is None else loss.name
    served = {n.name: np.zeros((len(problem.windows), n.tokens.size)) for n in problem.needs}
    load: dict[tuple[int, int], float] = defaultdict(float)
    for route in routes:
        w = reader.names.index(route.workload)
        need = problem.needs[w]
        if reader.plan.lines[route.line].workload != route.workload:
            yield f"{what}: line {route.line} serves another workload"
        if loss is not None and reader.supplier(route.line, loss.kind) == loss.supplier:
            yield f"{what}: line {route.line} is lost but serves"
        served[route.workload][route.window, route.bucket] += route.requests_per_s
        staffed = route.requests_per_s * float(need.headroom[route.window])
        load[route.line, route.window] += _load(reader, route, staffed, loss is not None)
    for (line, t), used in load.items():
        have = reader.plan.lines[line].replicas[t] if line in reader.options else 1.0
        if used > have * (1 + TOLERANCE) + TOLERANCE:
            yield f"{what}, window {t}: line {line} carries {used:.6g}, there is {have:g}"
    for w, need in enumerate(problem.needs):
        yield from _demand(reader, w, served[need.name], what, loss)


def _load(reader: _Reader, route: Route, staffed: float, lost: bool) -> float:
    """Replicas that a route takes, or its part of a host's rate limit."""
    if route.line in reader.options:
        option = reader.options[route.line]
        capacity = float((option.capacity_lost if lost else option.capacity)[route.bucket])
        return staffed / capacity if capacity > 0 else math.inf
    host = reader.hosts[route.line]
    if not math.isfinite(host.usd_per_request[route.bucket]):
        return math.inf
    return staffed / float(host.limit_per_s[route.bucket])


def _demand(
    reader: _Reader, w: int, served: np.ndarray[tuple[int, int], np.dtype[np.float64]], what: str, loss: Loss | None
) -> Iterator[str]:
    need, problem = reader.problem.needs[w], reader.problem
    if need.is_batch and loss is not None:
        return
    wanted = need.rate_per_s * (problem.limits.keep if loss is not None else 1.0)
    for t, b in zip(*np.nonzero(served < wanted * (1 - TOLERANCE) - 1e-12), strict=True):
        yield f"{what}, window {t}: {need.name} bucket {b} gets {served[t, b]:.6g} of {wanted[t, b]:.6g}/s"


def _losses(reader: _Reader) -> Iterator[str]:
    told: dict[tuple[str, str], LossRow] = {(r.kind, r.supplier): r for r in reader.plan.losses}
    for loss in reader.problem.limits.losses:
        row = told.get((loss.kind, loss.supplier))
        if row is not None:
            yield from _served(reader, row.routes, loss)
        elif any(reader.supplier(r.line, loss.kind) == loss.supplier for r in reader.plan.routes):
            yield f"{loss.name}: the plan uses it but does not say who takes over"


def _caps(reader: _Reader) -> Iterator[str]:
    for cap in reader.problem.limits.caps:
        used = sum(_counted(reader, cap, route) for route in reader.plan.routes)
        allowed = cap.share * reader.problem.cap_tokens(cap)
        if used > allowed * (1 + TOLERANCE) + 1e-6:
            yield f"{cap.name}: {used:,.0f} tokens of {allowed:,.0f}"


def _counted(reader: _Reader, cap: Cap, route: Route) -> float:
    """Tokens a month of a route that count against a cap."""
    w = reader.names.index(route.workload)
    if w not in cap.workloads:
        return 0.0
    if cap.kind == "spot":
        counts = reader.plan.lines[route.line].purchase == "spot"
    else:
        counts = reader.supplier(route.line, cap.kind) == cap.supplier
    tokens = float(reader.problem.needs[w].tokens[route.bucket]) * route.requests_per_s
    return tokens * float(reader.problem.hours[route.window]) * 3600.0 if counts else 0.0


def _money(reader: _Reader) -> Iterator[str]:
    """The bill, added up from prices, and the budget."""
    plan, problem = reader.plan, reader.problem
    steps = {s.offer_id: (box, s.usd_per_hour) for box in problem.boxes for s in box.steps}
    usd = 0.0
    for rental in plan.rentals:
        if rental.offer in steps:
            usd += float(np.array(rental.instances) @ problem.hours) * steps[rental.offer][1]
    for route in plan.routes:
        if route.line in reader.hosts:
            price = float(reader.hosts[route.line].usd_per_request[route.bucket])
            usd += price * route.requests_per_s * float(problem.hours[route.window]) * 3600.0
    if abs(usd - plan.usd_per_month) > TOLERANCE * max(usd, 1.0):
        yield f"the plan says {plan.usd_per_month:,.2f} USD a month, its parts cost {usd:,.2f}"
    budget = problem.limits.budget_usd_per_month
    if budget is not None and usd > budget * (1 + TOLERANCE):
        yield f"{usd:,.0f} USD a month is over the budget of {budget:,.0f}"
    if plan.bound_usd_per_month > plan.usd_per_month * (1 + TOLERANCE):
        yield "the proven bound is above the cost"
