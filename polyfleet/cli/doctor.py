"""`polyfleet doctor`: what would fail, before it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyfleet.launch.doctor import Finding


def doctor(
    spec: Annotated[Path | None, typer.Argument(help="The spec; without one, this machine alone is looked at.")] = None,
    on: Annotated[Literal["sky", "kubernetes"] | None, typer.Option(help="As with `up`.")] = None,
    plan: Annotated[Path | None, typer.Option(help="As with `up`.")] = None,
    state: StateUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Look at credentials, quotas, contexts, images, endpoints and keys that `up` would need; it costs nothing.

    Exits with 1 where something would fail.
    """
    from polyfleet.launch.extras import require_extras

    require_extras()
    import json
    from dataclasses import asdict

    from polyfleet import api
    from polyfleet.cli.asking import asked_of
    from polyfleet.cli.terminal import console, progress
    from polyfleet.launch.doctor import examine, machine
    from polyfleet.launch.home import Home
    from polyfleet.settings import Settings

    home = Home.of(Settings.from_environment(), state)
    found: list[Finding] = list(machine(home))
    if spec is not None:
        asked = asked_of(api.load_spec(spec), home, on, plan, stale=True)
        with progress("asking"):
            found += examine(home, asked.replicas)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        _print(console(), found)
    if any(finding.verdict == "fails" for finding in found):
        raise typer.Exit(1)


def _print(out: object, found: Sequence[Finding]) -> None:
    from rich.console import Console

    from polyfleet.cli.terminal import table

    assert isinstance(out, Console)
    counts = {verdict: sum(f.verdict == verdict for f in found) for verdict in ("ok", "fails", "unknown")}
    heading = f"{counts['ok']} ok, {counts['fails']} would fail, {counts['unknown']} unknown"
    shown = table(heading, ("of", "what", "is", "told"))
    for finding in sorted(found, key=lambda f: ("fails", "unknown", "ok").index(f.verdict)):
        shown.add_row(finding.area, finding.what, finding.verdict, finding.told)
    out.print(shown)
