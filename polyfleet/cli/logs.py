"""`polyfleet logs`: what a replica, the gate or the keeper says."""

from __future__ import annotations

from typing import Annotated

import typer


def logs(
    replica: Annotated[str, typer.Argument(help="A replica's id, `gate` or `keeper`.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what it says from now on.")] = False,
    last: Annotated[int | None, typer.Option("-n", "--last", min=0, help="Only so many lines.")] = None,
) -> None:
    """Print the log of a replica."""
    from polyfleet.launch.extras import require_extras

    require_extras()
    from polyfleet.errors import InputError
    from polyfleet.launch.home import Home
    from polyfleet.settings import Settings

    driver = Home.of(Settings.from_environment()).driver()
    if replica not in (known := driver.logged()):
        raise InputError("there is no log of this name", value=replica, hint=f"there are: {', '.join(known) or 'none'}")
    for line in driver.logs(replica, last=last, follow=follow):
        typer.echo(line)
