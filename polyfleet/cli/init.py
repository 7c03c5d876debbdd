"""`polyfleet init`: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    path: Annotated[Path, typer.Argument(help="Where to write the spec.")] = Path("fleet.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented starter spec."""
    from importlib.resources import files

    from polyfleet.errors import InputError
    from polyfleet.files import write_whole

    if path.exists() and not force:
        raise InputError("there is a file already", file=str(path), hint="name another, or add --force to replace it")
    write_whole(path, files("polyfleet.cli").joinpath("assets/starter.yaml").read_text(encoding="utf-8"))
    typer.echo(f"wrote {path}; next: polyfleet check {path}, then polyfleet plan {path}")
