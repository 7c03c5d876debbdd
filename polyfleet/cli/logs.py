"""`polyfleet logs`: what a replica, the gate or the keeper says."""

from __future__ import annotations

from typing import Annotated

import typer

from polyfleet.cli.state import StateUrl


def logs(
    replica: Annotated[str, typer.Argument(help="A replica's id, `gate` or `keeper`.")],
    state: StateUrl = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what it says from now on.")] = False,
    last: Annotated[int | None, typer.Option("-n", "--last", min=0, help="Only so many lines.")] = None,
) -> None:
    """Print the log of a replica."""
    from polyfleet.launch.extras import require_extras

    require_extras()
    from polyfleet.errors import InputError
    from polyfleet.launch.drivers import make_driver
    from polyfleet.launch.home import Home
    from polyfleet.settings import Settings
    from polyfleet.terms.fleet import HERE

    home = Home.of(Settings.from_environment(), state)
    here = home.here()
    elsewhere = {}
    if home.is_used:
        elsewhere = {i: r.spec.place for i, r in home.state().replicas().items() if r.spec.place != HERE}
    if replica in elsewhere:
        driver = make_driver(home, elsewhere[replica])
    elif replica in here.logged():
        driver = here
    else:
        known = ", ".join((*here.logged(), *elsewhere)) or "none"
        raise InputError("there is no log of this name", value=replica, hint=f"there are: {known}")
    for line in driver.logs(replica, last=last, follow=follow):
        typer.echo(line)
