"""The command line: registers one file per verb, and turns errors into one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from polyfleet import __version__
from polyfleet.cli import (
    breakeven,
    calibrate,
    catalog,
    check,
    compare,
    demand,
    doctor,
    down,
    drill,
    gate,
    init,
    keys,
    logs,
    manifests,
    plan,
    recipe,
    schema,
    speed,
    status,
    up,
    usage,
    why,
)
from polyfleet.cli.usage_error import UsageError, told
from polyfleet.errors import PolyfleetError

app = typer.Typer(
    name="polyfleet",
    help="Any model, any cloud, any chip, from one spec.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Plan": {
        "init": init.init,
        "check": check.check,
        "plan": plan.plan,
        "why": why.why,
        "compare": compare.compare,
        "breakeven": breakeven.breakeven,
        "schema": schema.schema,
    },
    "Run": {
        "up": up.up,
        "status": status.status,
        "logs": logs.logs,
        "down": down.down,
        "doctor": doctor.doctor,
        "gate": gate.gate,
        "usage": usage.usage,
        "manifests": manifests.manifests,
        "recipe": recipe.recipe,
    },
    "Prove": {"drill": drill.drill},
    "Speed and traffic": {"speed": speed.speed, "calibrate": calibrate.calibrate, "demand": demand.demand},
}
for panel, verbs in _VERBS.items():
    for name, verb in verbs.items():
        app.command(name, rich_help_panel=panel)(verb)
app.add_typer(keys.keys, name="keys", rich_help_panel="Run")
app.add_typer(catalog.catalog, name="catalog", rich_help_panel="Catalog")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"polyfleet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point. Exit code 2 where the command line or the input is wrong or no plan can be, 1 where polyfleet
    failed, 130 on Ctrl-C."""
    try:
        code = app(prog_name="polyfleet", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UsageError as error:
        if error.format_message():  # empty where no command was given: the help has been printed
            print(f"error: {told(error, sys.argv[1:])}", file=sys.stderr)
        sys.exit(2)
    except PolyfleetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        sys.exit(130)
