"""`polyfleet down`: everything that `up` started ends."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from polyfleet.cli.state import StateUrl


def down(
    state: StateUrl = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds to wait until all has ended; default: 90 here, 900 elsewhere."),
    ] = None,
) -> None:
    """Let what is in flight finish, then stop the endpoint and all replicas."""
    from polyfleet.launch.extras import require_extras

    require_extras()
    from polyfleet.errors import PolyfleetError
    from polyfleet.launch import control
    from polyfleet.launch.home import Home, keeper_runs
    from polyfleet.settings import Settings
    from polyfleet.terms.fleet import HERE

    home = Home.of(Settings.from_environment(), state)
    elsewhere: tuple[str, ...] = ()
    places: set[str] = set()
    if home.is_used:
        with contextlib.suppress(PolyfleetError):  # `close` says so, after it has ended what runs here
            state_there = home.state()
            elsewhere, places = tuple(state_there.replicas()), set(state_there.places()) - {HERE}
    running = sorted({*home.here().list(), *elsewhere})
    if not running and not places and not keeper_runs(home):  # a keeper that died may have started what it never noted
        typer.echo("nothing runs here")
        return
    control.close(home, timeout)
    typer.echo(f"stopped {', '.join(running)}" if running else "stopped")
