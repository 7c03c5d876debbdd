"""`polyfleet usage`: what was used, by whom, of what. (What a wrong command line is told stands in `usage.py`.)"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from polyfleet.gate.keys.ledger import Usage


class By(StrEnum):
    """What usage is summed by."""

    KEY = "key"
    MODEL = "model"
    REPLICA = "replica"
    PROVIDER = "provider"
    DAY = "day"


def usage(
    by: Annotated[By, typer.Option(help="What to sum by.")] = By.KEY,
    since: Annotated[str | None, typer.Option(help="Only the last such time, such as 7d; default: all.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the sums to this CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sums as JSON.")] = False,
    state: StateUrl = None,
) -> None:
    """Show what was used: requests, tokens and money, from the ledger."""
    from polyfleet.cli.state import open_state
    from polyfleet.errors import InputError
    from polyfleet.files import check_writable, write_whole
    from polyfleet.terms.units import parse_seconds

    try:
        since_s = None if since is None else parse_seconds(since)
    except ValueError as error:
        raise InputError(f"--since: {error}") from None
    if csv:
        check_writable(csv)
    with open_state(state) as engine:
        from polyfleet.gate.keys import ledger

        rows = ledger.usage(engine, by.value, since_s=since_s)
    if csv:
        write_whole(csv, _csv(by.value, rows))
    if as_json:
        import json

        typer.echo(json.dumps([{by.value: row.name, **_figures(row)} for row in rows], indent=1))
        return
    _print(by.value, since, rows)
    if csv:
        typer.echo(f"wrote {csv}")


def _print(by: str, since: str | None, rows: list[Usage]) -> None:
    from polyfleet.cli.terminal import console, table

    title = f"usage by {by}, " + (f"last {since}" if since else "all")
    shown = table(title, [by, ">requests", ">failed", ">resumed", ">input tokens", ">output tokens", ">USD"])
    for row in rows:
        cells = (row.requests, row.failed, row.resumed, row.input_tokens, row.output_tokens)
        shown.add_row(row.name, *(f"{cell:,}" for cell in cells), f"{row.usd:,.6f}")
    console().print(shown)


def _csv(by: str, rows: list[Usage]) -> str:
    import csv
    import io

    text = io.StringIO()
    names = [by, "requests", "failed", "resumed", "input_tokens", "output_tokens", "usd"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({by: _cell(row.name), **_figures(row), "usd": f"{row.usd:.9f}"})
    return text.getvalue()


def _cell(name: str) -> str:
    """A name that a spreadsheet would take for a formula is marked as text."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name


def _figures(row: Usage) -> dict[str, object]:
    return {
        "requests": row.requests, "failed": row.failed, "resumed": row.resumed,
        "input_tokens": row.input_tokens, "output_tokens": row.output_tokens, "usd": row.usd,
    }  # fmt: skip
