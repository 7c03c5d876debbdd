"""`polyfleet plan`: the cheapest fleet that keeps the promises and the limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plan(
    spec: Annotated[Path, typer.Argument(help="The spec, a YAML or JSON file.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the plan to this file.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the report to this page, readable offline.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    gap: Annotated[str, typer.Option(help="How near the best possible cost must be proven.")] = "1%",
) -> None:
    """Say what to rent: where, on which chip, bought how, at what cost, and how sure that is."""
    from polyfleet import api
    from polyfleet.cli.plan_table import print_plan
    from polyfleet.cli.terminal import console, progress
    from polyfleet.errors import InputError
    from polyfleet.files import check_writable
    from polyfleet.terms.plan import plan_to_json
    from polyfleet.terms.units import parse_share

    try:
        share = parse_share(gap)
    except ValueError as error:
        raise InputError(f"--gap: {error}") from None
    for path in (output, html):
        if path:
            check_writable(path)
    with progress("planning") as tell:
        made = api.make_plan(spec, gap=share, progress=tell)
    if output:
        api.save_plan(made, output)
    if html:
        api.save_page(made, html, title=spec.name)
    if as_json:
        typer.echo(plan_to_json(made))
        return
    out = console()
    print_plan(out, made, spec.name)
    for path in (output, html):
        if path:
            out.print(f"wrote {path}")
