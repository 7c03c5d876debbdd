"""`polyfleet why`: the reason for every line, limit and bucket of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.plan import Reasons
    from polyfleet.terms.plan import Plan


def why(
    plan: Annotated[Path, typer.Argument(help="A plan file, made by `polyfleet plan -o`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the reasons as JSON.")] = False,
) -> None:
    """Explain a plan: each line's runner-up, what each limit costs, who nearly served each size bucket."""
    from polyfleet import api
    from polyfleet.cli.terminal import console, progress

    made = api.load_plan(plan)
    with progress("solving again without each line and limit") as tell:
        reasons = api.why(made, progress=tell)
    if as_json:
        typer.echo(reasons.model_dump_json(indent=1))
        return
    out = console()
    for shown in (_lines(made, reasons), _limits(reasons), _buckets(made, reasons)):
        if shown.row_count:
            out.print(shown)


def _lines(plan: Plan, reasons: Reasons) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import line_name, usd

    accuracy = usd(reasons.accuracy_usd)
    note = f"solved again without each line, over {reasons.scope}; differences are sure to {accuracy} a month"
    shown = table("why each line", ["line", ">USD/month", ">dearer without it", "then instead"], note=note)
    for reason in sorted(reasons.lines, key=lambda r: -plan.line(r.line).usd_per_month):
        line = plan.line(reason.line)
        more = "-" if reason.usd_more_per_month is None else usd(reason.usd_more_per_month)
        instead = reason.runner_up or reason.method
        shown.add_row(f"{line.workload}: {line_name(line)}", usd(line.usd_per_month), more, instead)
    return shown


def _limits(reasons: Reasons) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import usd

    shown = table("what each limit costs", ["limit", ">USD/month", "how"])
    for reason in sorted(reasons.limits, key=lambda r: -r.usd_per_month):
        shown.add_row(reason.name, usd(reason.usd_per_month), reason.method)
    return shown


def _buckets(plan: Plan, reasons: Reasons) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import figure, who_serves

    columns = ["workload", ">input", ">output", "served by", ">$/M requests", "nearly", ">$/M requests"]
    note = "the price of a request on a replica that is full; who serves also depends on caps and losses"
    shown = table("who serves each size bucket, and who nearly did", columns, note=note)
    for row in reasons.buckets:
        served = ", ".join(f"{who_serves(plan.line(i))} {share:.0%}" for i, share in row.served_by[:3])
        nearly = row.runner_up_usd_per_million_requests
        shown.add_row(
            row.workload, figure(row.input_tokens), figure(row.output_tokens), served,
            figure(row.usd_per_million_requests), row.runner_up, "-" if nearly is None else figure(nearly),
        )  # fmt: skip
    return shown
