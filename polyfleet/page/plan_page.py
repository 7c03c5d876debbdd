"""The page of `polyfleet plan --html`: what to rent, what it costs, and what that rests on."""

from __future__ import annotations

from datetime import date

from polyfleet.page.document import Page
from polyfleet.page.plan_figures import bucket_figure, capacity_figure, cost_figure, speed_figure
from polyfleet.terms.plan import Line, Plan
from polyfleet.terms.show import count, price_age, speed_costs, traffic, usd, who_serves


def plan_page(plan: Plan, title: str, today: date) -> str:
    """One offline HTML file. `today` tells the age of prices."""
    page = Page(f"Plan: {title}")
    page.raw("<h1>What to rent</h1>")
    page.paragraph(f"{title}; plan {plan.digest[:12]}", "quiet")
    page.facts(_facts(plan))
    for warning in plan.warnings:
        page.paragraph(warning, "warn")
    _fleet(page, plan)
    _cost(page, plan)
    _buckets(page, plan)
    _capacity(page, plan)
    _losses(page, plan)
    _limits(page, plan)
    _speeds(page, plan)
    _prices(page, plan, today)
    return page.html()


def _facts(plan: Plan) -> list[tuple[str, str]]:
    chips = max(
        (sum(r.instances[w] * r.chips_per_instance for r in plan.rentals) for w in range(len(plan.windows))), default=0
    )
    return [
        (usd(plan.usd_per_month), "a month"),
        *_at_other_speeds(plan),
        (f"{plan.gap:.2%}", f"proven gap ({plan.status})"),
        (f"{chips:,}", "chips at the peak"),
        (str(len({line.provider for line in plan.lines})), "providers"),
        (str(len({line.chip_vendor for line in plan.lines})), "chip vendors"),
        (str(len(plan.losses)), "losses survived"),
    ]


def _at_other_speeds(plan: Plan) -> list[tuple[str, str]]:
    if not any(line.kind == "own" for line in plan.lines):
        return []
    return [(speed_costs(plan), "a month at the P10 / P90 of speed")]


def _fleet(page: Page, plan: Plan) -> None:
    page.heading(
        "The fleet", "one row per workload and way of serving it; replicas from the quietest to the busiest window"
    )
    columns = ["workload", "from", "how", "bought", ">replicas", ">of its traffic", ">USD a month", "speed"]
    page.table(columns, [_fleet_row(line) for line in plan.lines])


def _fleet_row(line: Line) -> list[str]:
    where = f"{line.provider} {line.region}".strip()
    how = line.build if line.kind == "own" else "hosted API"
    replicas = count(line.replicas) if line.replicas else "-"
    share = traffic(line)
    return [line.workload, where, how, line.purchase, replicas, share, usd(line.usd_per_month), line.speed_evidence]


def _cost(page: Page, plan: Plan) -> None:
    page.heading("Cost by line", "USD a month, idle chips included in the line that shares their box")
    page.figure(*cost_figure(plan))


def _buckets(page: Page, plan: Plan) -> None:
    page.heading("Which requests go where", "size buckets (input > output tokens) by who serves them, in the base case")
    for workload in plan.workloads:
        if workload.kind == "serve":
            page.raw(f"<h3>{_safe(workload.name)}</h3>")
            page.figure(*bucket_figure(plan, workload.name))


def _capacity(page: Page, plan: Plan) -> None:
    page.heading(
        "Capacity against demand",
        "requests a second: demand, demand with the headroom that the promise needs, and what stands; in the base case "
        "and while each supplier is lost",
    )
    for workload in plan.workloads:
        if workload.kind == "serve":
            page.raw(f"<h3>{_safe(workload.name)}</h3>")
            page.figure(*capacity_figure(plan, workload.name))


def _losses(page: Page, plan: Plan) -> None:
    if not plan.losses:
        return
    page.heading("When a supplier is lost", "who takes over; hosts that stand in cost nothing until then")
    page.table(
        ["lost", ">traffic it served", ">hosts then cost, USD an hour", "taken over by"],
        [
            [f"{loss.kind} {loss.supplier}", f"{loss.traffic_share_lost:.0%}", usd(loss.hosted_usd_per_hour),
             ", ".join(sorted({who_serves(plan.line(r.line)) for r in loss.routes}))]
            for loss in plan.losses
        ],
    )  # fmt: skip


def _limits(page: Page, plan: Plan) -> None:
    if not plan.limits:
        return
    page.heading("Limits", "what each limit allows and what is used of it; `polyfleet why` re-solves for its price")
    page.table(
        ["limit", ">bound", ">used", "unit", "binding", ">marginal USD a month", "per"],
        [
            [row.name, f"{row.bound:,.4g}", f"{row.used:,.4g}", row.unit, "yes" if row.binding else "",
             "-" if row.marginal_usd_per_month is None else usd(row.marginal_usd_per_month), row.marginal_of]
            for row in plan.limits
        ],
    )  # fmt: skip


def _speeds(page: Page, plan: Plan) -> None:
    own = [line for line in plan.lines if line.kind == "own"]
    if not own:
        return
    page.heading("How sure the speeds are", "P10-P90 of each line's capacity, over what was planned on")
    page.figure(*speed_figure(plan))


def _prices(page: Page, plan: Plan, today: date) -> None:
    page.heading("Prices", "a listed price is no promise of capacity")
    rented = [
        [r.offer, f"{r.chips_per_instance} x {r.chip}", f"{usd(r.usd_per_hour)} an hour", count(r.instances),
         price_age(r.price_as_of, today), r.price_source]
        for r in plan.rentals
    ]  # fmt: skip
    hosted = [
        [", ".join(line.offers), line.workload,
         "-" if line.usd_per_million_tokens is None else f"{usd(line.usd_per_million_tokens)} per M tokens", "-",
         price_age(line.price_as_of, today), line.price_source]
        for line in plan.lines if line.kind == "hosted"
    ]  # fmt: skip
    page.table(["offer", "what", ">price", ">instances", "dated", "source"], rented + hosted)


def _safe(text: str) -> str:
    from html import escape

    return escape(text)
