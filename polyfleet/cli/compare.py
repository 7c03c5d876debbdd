"""`polyfleet compare`: this plan beside what else there was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.plan import Alternative


def compare(
    spec: Annotated[Path, typer.Argument(help="The spec, a YAML or JSON file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Set the plan beside: one cloud, one chip vendor or one chip alone, all on demand, all hosted, no limits."""
    from polyfleet import api
    from polyfleet.cli.terminal import console, progress

    with progress("comparing") as tell:
        rows = api.compare(spec, progress=tell)
    if as_json:
        import dataclasses
        import json

        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
        return
    console().print(_table(str(spec), rows))


def _table(title: str, rows: tuple[Alternative, ...]) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import usd

    base = rows[0].usd_per_month
    shown = table(title, ["alternative", ">USD/month", ">against the plan", "limits not kept", "served by"])
    for row in rows:
        if row.usd_per_month is None:
            shown.add_row(row.name, "-", "-", "", f"none: {_short(row.why_not)}")
            continue
        against = f"{row.usd_per_month / base - 1:+.0%}" if base and row is not rows[0] else ""
        shown.add_row(row.name, usd(row.usd_per_month), against, ", ".join(row.lifted), _uses(row.uses))
    return shown


def _uses(uses: tuple[str, ...]) -> str:
    more = f" and {len(uses) - 4} more" if len(uses) > 4 else ""
    return ", ".join(uses[:4]) + more


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."
