"""`polyfleet up`: the spec becomes a running fleet behind one endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.cli.otlp import Otlp
from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from polyfleet.launch.home import Home
    from polyfleet.terms.fleet import ReplicaSpec
    from polyfleet.terms.spec_text import SpecSource


def up(
    spec: Annotated[Path, typer.Argument(help="The spec, a YAML or JSON file, with a `local:` section.")],
    state: StateUrl = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the endpoint.")] = 8000,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait until everything answers.")] = 120.0,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="With the endpoint, or the replicas alone.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Gate processes that share the port.")] = 1,
    otlp: Otlp = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and take all down on Ctrl-C.")] = False,
) -> None:
    """Start the replicas and the endpoint, or bring what runs in line with the spec; safe to run again at any time."""
    from polyfleet.launch.extras import require_extras

    require_extras(gate=gate)
    from polyfleet import api
    from polyfleet.launch import control, desired
    from polyfleet.launch.home import Home
    from polyfleet.settings import Settings

    source = api.load_spec(spec)
    home = Home.of(Settings.from_environment(), state)
    replicas = desired.replicas_of(source, home.folder)
    control.require_same_state(home)
    endpoint = None
    if gate:
        if otlp is not None:
            from polyfleet.gate.seen.traces import check_collector

            check_collector(otlp)
        endpoint = desired.gate_spec(port, home.routes_file, home.public_state_url, workers=workers, otlp=otlp)
    if endpoint:
        control.require_port(home, endpoint)
    _tell_left_out(source)
    with control.in_foreground(home) if foreground else _in_background():
        _bring_up(home, replicas, endpoint, str(spec), timeout)
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


def _tell_left_out(source: SpecSource) -> None:
    left_out = [name for name in source.spec.workloads if name not in source.spec.local]
    if left_out:
        typer.echo(f"note: not in `local:`, so not run here: {', '.join(left_out)}", err=True)
