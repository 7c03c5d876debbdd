"""Why each line is there, what each limit costs, and who nearly served each bucket."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from pydantic import BaseModel, ConfigDict

from polyfleet.plan.document_lines import build_text
from polyfleet.plan.make import Outcome, solve
from polyfleet.plan.problem import Hosted, Option, Problem
from polyfleet.plan.problem_file import from_file
from polyfleet.plan.restrict import lifting, unserved, without_host, without_option, without_quota
from polyfleet.plan.search import Progress
from polyfleet.plan.why_scope import solved_again
from polyfleet.terms.plan import Line, Plan


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LineReason(_Part):
    """Why a line is there: what the plan would cost without it, and who would take its place."""

    line: int
    runner_up: str
    usd_more_per_month: float | None
    method: str


class LimitReason(_Part):
    """What a limit costs: the plan's cost less that of the plan without it."""

    name: str
    usd_per_month: float
    method: str


class BucketReason(_Part):
    """Who serves a bucket (line id, share of its requests) and who nearly did, by the price of a request."""

    workload: str
    bucket: int
    input_tokens: float
    output_tokens: float
    served_by: tuple[tuple[int, float], ...]
    usd_per_million_requests: float
    runner_up: str
    runner_up_usd_per_million_requests: float | None


class Reasons(_Part):
    """All reasons. `accuracy_usd` is how far a re-solved difference may be off, from the proven gaps; `scope` says what
    was solved again."""

    lines: tuple[LineReason, ...]
    limits: tuple[LimitReason, ...]
    buckets: tuple[BucketReason, ...]
    accuracy_usd: float
    scope: str


def why(plan: Plan, *, gap: float = 0.003, most_lines: int = 12, progress: Progress | None = None) -> Reasons:
    """The reasons behind a plan, from its file alone. The costliest `most_lines` lines are re-solved.

    A plan of many windows that is large is re-solved on its busiest one, taken for the whole month: `scope` says so
    (see `why_scope`).
    """
    whole = from_file(plan.problem)
    problem, scope = solved_again(whole)
    if progress is not None:
        progress("solving the plan again")
    base = solve(problem, gap=gap)
    assert base.fleet is not None  # the plan itself is one
    teller = _Teller(plan, problem, base, gap, progress, most_lines)
    return Reasons(
        lines=teller.lines(),
        limits=teller.limits(),
        buckets=_buckets(plan, whole),
        accuracy_usd=max(base.usd - base.bound, 0.0) + base.usd * gap,
        scope=scope,
    )


class _Teller:
    """Re-solves, one change at a time."""

    def __init__(
        self, plan: Plan, problem: Problem, base: Outcome, gap: float, progress: Progress | None, most_lines: int
    ) -> None:
        self.plan, self.problem, self.base, self.gap, self.progress = plan, problem, base, gap, progress
        self.names = [n.name for n in problem.needs]
        used = sorted((x for x in plan.lines if x.usd_per_month > 0), key=lambda x: -x.usd_per_month)
        self.tried, self.left_out = used[:most_lines], used[most_lines:]
        self.changes = list(self._changes())
        self.done = 0

    def lines(self) -> tuple[LineReason, ...]:
        rows = []
        for line in self.tried:
            self._tell(f"without line {line.id} ({line.provider} {line.chip or 'hosted'})")
            rows.append(self._line(line))
        rows += [
            LineReason(line=x.id, runner_up="", usd_more_per_month=None, method="not re-solved") for x in self.left_out
        ]
        return tuple(sorted(rows, key=lambda r: r.line))

    def _line(self, line: Line) -> LineReason:
        way = self._find(line)
        if way is None:
            return LineReason(line=line.id, runner_up="", usd_more_per_month=None, method="not found in the problem")
        changed = without_option(self.problem, way) if isinstance(way, Option) else without_host(self.problem, way)
        if unserved(changed):
            text = "nobody else serves it"
            return LineReason(line=line.id, runner_up=text, usd_more_per_month=None, method="re-solved")
        then = solve(changed, gap=self.gap)
        if then.fleet is None:
            text = "no plan keeps every limit without it"
            return LineReason(line=line.id, runner_up=text, usd_more_per_month=None, method="re-solved")
        more = max(then.usd - self.base.usd, 0.0)
        return LineReason(
            line=line.id, runner_up=self._newcomer(line.workload, then), usd_more_per_month=more, method="re-solved"
        )

    def _find(self, line: Line) -> Option | Hosted | None:
        w = self.names.index(line.workload)
        if line.kind == "hosted":
            return next((h for h in self.problem.hosted if h.workload == w and h.offer_id in line.offers), None)
        for option in self.problem.options:
            steps = {s.offer_id for s in self.problem.boxes[option.box].steps}
            if option.workload == w and build_text(option.build) == line.build and steps & set(line.offers):
                return option
        return None

    def _newcomer(self, workload: str, then: Outcome) -> str:
        """Whom the other plan sends most of the workload's tokens to that this one does not."""
        before, after = _tokens_by_name(self.base, workload), _tokens_by_name(then, workload)
        gains = {name: tokens - before.get(name, 0.0) for name, tokens in after.items()}
        best = max(gains, key=lambda n: (gains[n], n), default="")
        return best if best and gains[best] > 0 else "the lines that stay"

    def limits(self) -> tuple[LimitReason, ...]:
        return tuple(self._lifted(name, changed) for name, changed in self.changes)

    def _changes(self) -> Iterator[tuple[str, Problem]]:
        """The problem without each limit that binds, and without each kind of cap and of loss."""
        limits = self.problem.limits
        for row in self.plan.limits:
            if row.kind.startswith("share of") and row.binding:
                cap = next(c for c in limits.caps if c.name == row.name)
                yield row.name, lifting(self.problem, _one(cap.kind, cap.supplier), _no)
            elif row.kind == "quota" and row.binding:
                yield row.name, without_quota(self.problem, row.name)
        for kind in dict.fromkeys(c.kind for c in limits.caps):
            yield f"all shares of {kind}", lifting(self.problem, _all_of(kind), _no)
        for lost in dict.fromkeys(s.kind for s in limits.losses):
            yield f"survive {lost}", lifting(self.problem, _no, _all_of(lost))

    def _lifted(self, name: str, changed: Problem) -> LimitReason:
        self._tell(f"without {name}")
        then = solve(changed, gap=self.gap)
        return LimitReason(name=name, usd_per_month=max(self.base.usd - then.usd, 0.0), method="re-solved without it")

    def _tell(self, text: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(f"{self.done} of {len(self.tried) + len(self.changes)}: {text}")


def _one(kind: str, supplier: str) -> Callable[[str, str], bool]:
    return lambda k, s: (k, s) == (kind, supplier)


def _all_of(kind: str) -> Callable[[str, str], bool]:
    return lambda k, _: k == kind


def _no(_kind: str, _supplier: str) -> bool:
    return False


def _tokens_by_name(outcome: Outcome, workload: str) -> dict[str, float]:
    fleet = outcome.fleet
    assert fleet is not None
    found: dict[str, float] = {}
    for w, stack in enumerate(fleet.stacks):
        if stack.need.name != workload:
            continue
        for flow in (row[w] for row in fleet.base):
            own = [fleet.problem.options[i] for i in stack.options]
            rent = [fleet.problem.hosted[i] for i in stack.hosted]
            ways: list[Option | Hosted] = [*own, *rent]
            table = np.concatenate([flow.own, flow.hosted])
            if table.size:
                for i in np.flatnonzero(table.any(axis=1)):
                    name = way_name(fleet.problem, ways[i])
                    found[name] = found.get(name, 0.0) + float(table[i] @ stack.need.tokens)
    return found


def way_name(problem: Problem, way: Option | Hosted) -> str:
    """An option or host in words: `2xH100-SXM fp8 on lambda, on_demand` or `hosted by deepinfra`."""
    if isinstance(way, Hosted):
        return f"hosted by {way.supplier.provider}"
    box = problem.boxes[way.box]
    return f"{way.build.chips}x{box.chip} {way.build.precision} on {box.supplier.provider}, {box.purchase}"


def _buckets(plan: Plan, problem: Problem) -> tuple[BucketReason, ...]:
    rows = []
    for w, workload in enumerate(plan.workloads):
        prices = _request_prices(problem, w)
        for b, bucket in enumerate(workload.buckets):
            served: dict[int, float] = {}
            for route in plan.routes:
                if route.workload == workload.name and route.bucket == b:
                    hours = plan.windows[route.window].hours_per_month
                    served[route.line] = served.get(route.line, 0.0) + route.requests_per_s * hours
            total = math.fsum(served.values())
            if total <= 0:
                continue
            names = {_line_name(plan.lines[i]) for i in served}
            others = sorted(
                (usd[b], name) for name, usd in prices.items() if name not in names and math.isfinite(usd[b])
            )
            mine = [prices[n][b] for n in names if n in prices]
            rows.append(
                BucketReason(
                    workload=workload.name, bucket=b, input_tokens=bucket.input_tokens,
                    output_tokens=bucket.output_tokens,
                    served_by=tuple((i, served[i] / total) for i in sorted(served, key=lambda i: -served[i])),
                    usd_per_million_requests=1e6 * min(mine, default=0.0),
                    runner_up=others[0][1] if others else "nobody",
                    runner_up_usd_per_million_requests=1e6 * float(others[0][0]) if others else None,
                )
            )  # fmt: skip
    return tuple(rows)


def _line_name(line: Line) -> str:
    if line.kind == "hosted":
        return f"hosted by {line.provider}"
    return f"{line.chips_per_replica}x{line.chip} {line.precision} on {line.provider}, {line.purchase}"


def _request_prices(problem: Problem, w: int) -> dict[str, list[float]]:
    """By way: USD a request of each bucket costs on a replica that is full, or at a host."""
    found: dict[str, list[float]] = {}
    for option in problem.options:
        if option.workload == w:
            box = problem.boxes[option.box]
            usd_per_s = box.steps[0].usd_per_hour / 3600.0 * option.packed_chips / box.chips
            price = [usd_per_s / float(c) if c > 0 else math.inf for c in option.capacity]
            _keep_lower(found, way_name(problem, option), price)
    for host in problem.hosted:
        if host.workload == w:
            _keep_lower(found, way_name(problem, host), [float(u) for u in host.usd_per_request])
    return found


def _keep_lower(found: dict[str, list[float]], name: str, price: list[float]) -> None:
    found[name] = [min(a, b) for a, b in zip(found[name], price, strict=True)] if name in found else price
