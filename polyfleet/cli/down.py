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

    home = Home.of(Settings.from_environment(), state)
    elsewhere: tuple[str, ...] = ()
    if home.is_used:
        with contextlib.suppress(PolyfleetError):  # `close` says so, after it has ended what runs here
            elsewhere = tuple(home.state().replicas())
    running = sorted({*home.here().list(), *elsewhere})
    if not running and not keeper_runs(home):
        typer.echo("nothing runs here")
        return
    control.close(home, timeout)
    typer.echo(f"stopped {', '.join(running)}" if running else "stopped")
