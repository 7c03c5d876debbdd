"""`polyfleet status`: what runs, and how it fares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polyfleet.cli.terminal import NotedTable
    from polyfleet.launch.status import Fared, Status
    from polyfleet.terms.fleet import ReplicaSpec

_COLUMNS = ("replica", "runs", "state", ">age", ">deaths", ">requests", ">running", ">queue", ">tok/s")


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
            for shown in _tables(seen):
                out.print(shown)
        if not watch:
            return
        time.sleep(1.0)


def _tables(seen: Status) -> Iterator[NotedTable | str]:
    """One table, or one for each place where there are several, and what holds replicas up."""
    from polyfleet.cli.terminal import table
    from polyfleet.launch.words import reason

    if not seen.fared and not seen.keeper:
        yield table("nothing runs here; `polyfleet up SPEC` starts something", [])
        return
    heading = f"endpoint {seen.endpoint or 'not ready'}; {_sum(seen.fared)}"
    places = list(dict.fromkeys(fared.replica.spec.place for fared in seen.fared)) or [""]
    if len(places) > 1:
        yield heading
    for place in places:
        here = [fared for fared in seen.fared if fared.replica.spec.place == place]
        shown = table(heading if len(places) == 1 else f"{place}: {_sum(here)}", _COLUMNS)
        for fared in here:
            shown.add_row(*_row(fared))
        told = [f"{f.replica.spec.id}: {reason(f.replica.last_lines)}" for f in here if f.replica.last_lines]
        shown.note = "\n".join(told) or None
        yield shown
    if not seen.keeper:
        yield "no keeper runs: what dies stays down until `polyfleet up` is run again\n"


def _sum(fared: Sequence[Fared]) -> str:
    cost = sum(one.replica.spec.usd_per_hour for one in fared)
    return f"{len(fared)} replica{'' if len(fared) == 1 else 's'}, {cost:.2f} USD/h"


def _row(fared: Fared) -> tuple[str, ...]:
    replica, spec, load = fared.replica, fared.replica.spec, fared.load
    figures = (load.requests, load.running, load.waiting, load.tokens_per_s)
    loads = ("-" if figure is None else f"{figure:,.0f}" for figure in figures)
    return spec.id, _what(spec), replica.state.value, _age(fared.age_s), str(replica.restarts), *loads


def _what(spec: ReplicaSpec) -> str:
    """The engine, or what is more telling: the chip that it runs on, or the host."""
    from polyfleet.terms.fleet import ENDPOINT, HERE

    return spec.engine if spec.place == HERE else spec.provider if spec.place == ENDPOINT else spec.chip


def _age(seconds: float) -> str:
    """The largest unit that it fills, and one below it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
