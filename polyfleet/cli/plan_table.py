"""A plan in the terminal, within 100 columns."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from polyfleet.cli.terminal import table
from polyfleet.terms.plan import Line, Plan
from polyfleet.terms.show import count, figure, speed_costs, traffic, usd, who_serves

if TYPE_CHECKING:
    from rich.console import Console

    from polyfleet.cli.terminal import NotedTable

_MOST_LIMITS = 12


def print_plan(out: Console, plan: Plan, title: str) -> None:
    """Cost and proof, the fleet, the rentals with their prices' age, the limits that bind, the warnings."""
    out.print(Text.assemble((f"{title}: {usd(plan.usd_per_month)} a month", "bold"), f", {_proof(plan)}"))
    if any(line.kind == "own" for line in plan.lines):
        out.print(f"cost if speeds are at their P10 / P90: {speed_costs(plan)} (the same lines)")
    out.print(_fleet(plan))
    if plan.rentals:
        out.print(_rentals(plan, datetime.now(UTC).date()))
    if plan.losses:
        out.print(_losses(plan))
    binding = [row for row in plan.limits if row.binding]
    if binding:
        out.print(_limits(plan))
    for warning in plan.warnings:
        out.print(Text.assemble(("note:", "yellow"), f" {warning}"))


def _proof(plan: Plan) -> str:
    if plan.status == "proven":
        return f"proven within {plan.gap:.2%} of the best there can be"
    return f"the best found; the best there can be is at most {plan.gap:.1%} cheaper"


def _fleet(plan: Plan) -> NotedTable:
    columns = ["workload", "from", "how", ">replicas", ">traffic", ">USD/month", ">$/M tok", "speed, band"]
    note = "speed, band: what it rests on, and the P10-P90 of capacity over what was planned on (1 = as planned)"
    shown = table("the fleet", columns, note=note)
    for line in sorted(plan.lines, key=lambda n: (n.workload, -n.traffic_share)):
        shown.add_row(
            line.workload, f"{line.provider} {line.purchase.replace('_', '-')}", _how(line),
            count(line.replicas) if line.replicas else "-", traffic(line), usd(line.usd_per_month),
            "-" if line.usd_per_million_tokens is None else f"{line.usd_per_million_tokens:.2f}", _speed(line),
        )  # fmt: skip
    return shown


def _how(line: Line) -> str:
    return line.build if line.kind == "own" else "hosted API"


def _speed(line: Line) -> str:
    if line.kind == "hosted":
        return line.speed_evidence
    return f"{line.speed_evidence} {line.speed_p10:.2f}-{line.speed_p90:.2f}"


def _rentals(plan: Plan, today: date) -> NotedTable:
    shown = table("what to rent", ["offer", ">instances", ">chips", ">$/h each", ">USD/month", "price dated"])
    for r in sorted(plan.rentals, key=lambda r: -r.usd_per_month):
        age = f"{r.price_as_of} ({(today - date.fromisoformat(r.price_as_of)).days} d)" if r.price_as_of else "undated"
        shown.add_row(
            r.offer, count(r.instances), f"{r.chips_per_instance} x {r.chip}", figure(r.usd_per_hour),
            usd(r.usd_per_month), age,
        )  # fmt: skip
    return shown


def _losses(plan: Plan) -> NotedTable:
    shown = table("when a supplier is lost", ["lost", ">traffic it served", ">hosts then cost $/h", "taken over by"])
    idle = 0
    for loss in plan.losses:
        if loss.traffic_share_lost < 0.0005:
            idle += 1
            continue
        heirs = sorted({who_serves(plan.line(r.line)) for r in loss.routes})
        shown.add_row(
            f"{loss.kind} {loss.supplier}",
            f"{loss.traffic_share_lost:.0%}",
            usd(loss.hosted_usd_per_hour),
            ", ".join(heirs),
        )
    if idle:
        shown.note = f"{idle} more suppliers can be lost without any traffic moving"
    return shown


def _limits(plan: Plan) -> NotedTable:
    shown = table(
        "limits that bind (`polyfleet why` says what each costs)", ["limit", ">bound", ">used", "unit", ">dual"]
    )
    binding = sorted((r for r in plan.limits if r.binding), key=lambda r: -abs(r.marginal_usd_per_month or 0))
    for row in binding[:_MOST_LIMITS]:
        dual = "-" if row.marginal_usd_per_month is None else f"{usd(row.marginal_usd_per_month)} {row.marginal_of}"
        shown.add_row(row.name, figure(row.bound), figure(row.used), row.unit, dual)
    if len(binding) > _MOST_LIMITS:
        shown.note = f"{len(binding) - _MOST_LIMITS} more in the plan file"
    return shown
