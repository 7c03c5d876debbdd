"""`polyfleet down`: everything that `up` started ends."""

from __future__ import annotations

from typing import Annotated

import typer

from polyfleet.cli.state import StateUrl


def down(
    state: StateUrl = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait until all has ended.")] = 90.0,
) -> None:
    """Let what is in flight finish, then stop the endpoint and all replicas."""
    from polyfleet.launch.extras import require_extras

    require_extras()
    from polyfleet.launch import control
    from polyfleet.launch.home import Home, keeper_runs
    from polyfleet.settings import Settings

    home = Home.of(Settings.from_environment(), state)
    running = sorted(home.driver().list())
    if not running and not keeper_runs(home):
        typer.echo("nothing runs here")
        return
    control.close(home, timeout)
    typer.echo(f"stopped {', '.join(running)}" if running else "stopped")
