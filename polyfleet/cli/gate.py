"""`polyfleet gate`: the endpoint alone, in front of engines that something else started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.cli.otlp import Otlp
from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from polyfleet.gate.processes import GateCommand


def gate(
    routes: Annotated[Path, typer.Option(help="The routes file: JSON, read again whenever it changes.")],
    state: StateUrl = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the port.")] = 1,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Ask for no keys: everybody who reaches it may ask.")
    ] = False,
    access_log: Annotated[
        Path | None, typer.Option(help="A JSON line for each request into this file; - prints it.")
    ] = None,
    otlp: Otlp = None,
    keep: Annotated[
        str,
        typer.Option(help="How long each request has a row of its own in the ledger; older ones become sums by day."),
    ] = "400d",
    drain: Annotated[float, typer.Option(min=0, help="Seconds that running answers get when it is ended.")] = 30.0,
    max_wait: Annotated[float, typer.Option(min=0, help="Who would wait longer than these seconds gets a 429.")] = 10.0,
    max_body: Annotated[int, typer.Option(min=1, help="Most bytes of a request, in MiB.")] = 64,
) -> None:
    """Serve one OpenAI-compatible endpoint in front of the routes; SIGTERM lets running answers end first."""
    from polyfleet.errors import MissingExtraError

    try:
        from polyfleet.gate import processes
    except ImportError:
        raise MissingExtraError("the gate", "serve") from None
    command = processes.GateCommand(
        routes=routes, state=state, host=host, port=port, workers=workers, keys=not no_keys, access_log=access_log,
        otlp=otlp, keep_s=_seconds(keep), drain_s=drain, max_wait_s=max_wait, body_bytes=max_body * 2**20,
    )  # fmt: skip
    _run(command)


def _seconds(keep: str) -> float:
    from polyfleet.errors import InputError
    from polyfleet.terms.units import parse_seconds

    try:
        return parse_seconds(keep)
    except ValueError as error:
        raise InputError(f"--keep: {error}") from None


def _run(command: GateCommand) -> None:
    """Checks everything that can be wrong before a worker starts."""
    from contextlib import nullcontext

    from polyfleet.cli.state import open_state
    from polyfleet.gate import processes

    if command.workers > 1:
        processes.run_workers(command)
        return
    with open_state(command.state) if command.keys or command.state else nullcontext() as engine:
        processes.run_one(command, engine, lambda url: typer.echo(f"gate: {url}/v1"))
