"""`polyfleet up`: the spec becomes a running fleet behind one endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from polyfleet.cli.otlp import Otlp
from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from polyfleet.launch.home import Home
    from polyfleet.terms.fleet import ReplicaSpec

_LOCAL_TIMEOUT_S = 120.0
_REMOTE_TIMEOUT_S = 3600.0


def up(
    spec: Annotated[Path, typer.Argument(help="The spec, a YAML or JSON file.")],
    on: Annotated[
        Literal["sky", "kubernetes"] | None,
        typer.Option(help="Bring the spec's plan up there; default: as `launch:` says, else `local:`."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="A plan of this spec, as `polyfleet plan -o` wrote it; default: made now.")
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Launch it though its prices have changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked of whom; touch nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print it as JSON.")] = False,
    state: StateUrl = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the endpoint.")] = 8000,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds to wait until everything answers; default: 120 here, 3600 elsewhere."),
    ] = None,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="With the endpoint, or the replicas alone.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Gate processes that share the port.")] = 1,
    otlp: Otlp = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and take all down on Ctrl-C.")] = False,
) -> None:
    """Start the replicas and the endpoint, or bring what runs in line with the spec; safe to run again at any time."""
    from polyfleet.launch.extras import require_extras

    require_extras(gate=gate)
    from polyfleet import api
    from polyfleet.cli.asking import asked_of
    from polyfleet.cli.dry_run import print_dry_run
    from polyfleet.errors import InputError
    from polyfleet.launch import control, desired
    from polyfleet.launch.home import Home
    from polyfleet.settings import Settings

    if as_json and not dry_run:
        raise InputError("--json goes with --dry-run", hint="add --dry-run, or leave --json out")
    source = api.load_spec(spec)
    home = Home.of(Settings.from_environment(), state)
    asked = asked_of(source, home, on, plan, stale=stale)
    if dry_run:
        print_dry_run(asked, as_json=as_json)
        return
    control.require_same_state(home)
    endpoint = None
    if gate:
        if otlp is not None:
            from polyfleet.gate.seen.traces import check_collector

            check_collector(otlp)
        endpoint = desired.gate_spec(port, home.routes_file, home.public_state_url, workers=workers, otlp=otlp)
    if endpoint:
        control.require_port(home, endpoint)
    for told in asked.left_out:
        typer.echo(f"note: not run: {told}", err=True)
    control.require_same_keys(home, asked.replicas)
    control.check(home, asked.replicas)
    remote = asked.planned is not None
    timeout_s = timeout or (_REMOTE_TIMEOUT_S if remote else _LOCAL_TIMEOUT_S)
    with control.in_foreground(home) if foreground else _in_background():
        _bring_up(home, asked.replicas, endpoint, str(spec), timeout_s)
        if foreground:
            typer.echo("Ctrl-C takes it down")
            control.wait_for_end(home)


@contextlib.contextmanager
def _in_background() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("what was begun goes on in the background: `polyfleet status`, `polyfleet down`", err=True)
        raise typer.Exit(130) from None


def _bring_up(
    home: Home, replicas: Sequence[ReplicaSpec], gate: ReplicaSpec | None, spec_file: str, timeout_s: float
) -> None:
    from polyfleet.launch import control

    wanted = (*replicas, gate) if gate else tuple(replicas)
    home.state().want(wanted, spec_file)
    control.ensure_keeper(home)
    for told in control.follow(home, wanted, timeout_s):
        typer.echo(told)
    if gate is None:
        typer.echo(f"routes    {home.routes_file}")
        return
    typer.echo(f"endpoint  http://127.0.0.1:{gate.port}/v1")
    key = _first_key(home)
    typer.echo(f"key       {key} (shown this once)" if key else "keys      `polyfleet keys list`")


def _first_key(home: Home) -> str | None:
    """A key for the user's first request; None where there are keys already."""
    from polyfleet.database import open_database
    from polyfleet.errors import InputError
    from polyfleet.gate.keys.store import create_key, list_keys

    engine = open_database(home.state_url)
    try:
        return None if list_keys(engine) else create_key(engine, "first", admin=True)
    except InputError:  # another `up` made it at this moment
        return None
