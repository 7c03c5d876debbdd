"""`polyfleet status`: what runs, and how it fares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.launch.status import Fared, Status

_COLUMNS = (
    "replica", "engine", "offer", "state", ">age", ">deaths", ">requests", ">running", ">queue", ">tok/s",
)  # fmt: skip


def status(
    state: StateUrl = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show the replicas: state, age, requests, tokens per second, queue."""
    from polyfleet.launch.extras import require_extras

    require_extras()
    import json
    import time

    from polyfleet.cli.terminal import console
    from polyfleet.launch.home import Home
    from polyfleet.launch.status import Status, look
    from polyfleet.settings import Settings

    home = Home.of(Settings.from_environment(), state)
    out = console()
    while True:
        seen = look(home) if home.is_used else Status(keeper=False, endpoint=None, fared=())
        if as_json:
            document = {
                "keeper": seen.keeper, "endpoint": seen.endpoint, "replicas": [fared.row for fared in seen.fared]
            }  # fmt: skip
            typer.echo(json.dumps(document, indent=None if watch else 1))
        else:
            if watch:
                out.clear()
            out.print(_table(seen))
        if not watch:
            return
        time.sleep(1.0)


def _table(seen: Status) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.launch.words import reason

    if not seen.fared and not seen.keeper:
        return table("nothing runs here; `polyfleet up SPEC` starts something", [])
    note = None if seen.keeper else "no keeper runs: what dies stays down until `polyfleet up` is run again"
    cost = sum(fared.replica.spec.usd_per_hour for fared in seen.fared)
    heading = f"endpoint {seen.endpoint or 'not ready'}; {len(seen.fared)} replicas, {cost:.2f} USD/h"
    shown = table(heading, _COLUMNS, note=note)
    for fared in seen.fared:
        shown.add_row(*_row(fared))
    died = [f"{f.replica.spec.id}: {reason(f.replica.last_lines)}" for f in seen.fared if f.replica.restarts]
    if died and note is None:
        shown.note = "\n".join(died)
    return shown


def _row(fared: Fared) -> tuple[str, ...]:
    replica, spec, load = fared.replica, fared.replica.spec, fared.load
    offer = spec.offer.removesuffix(":on_demand")
    figures = (load.requests, load.running, load.waiting, load.tokens_per_s)
    loads = ("-" if figure is None else f"{figure:,.0f}" for figure in figures)
    return spec.id, spec.engine, offer, replica.state.value, _age(fared.age_s), str(replica.restarts), *loads


def _age(seconds: float) -> str:
    """The largest unit that it fills, and one below it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
