"""`polyfleet manifests`: a plan as Kubernetes YAML, SkyPilot tasks and Compose files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def manifests(
    plan: Annotated[Path, typer.Argument(help="A plan file, as `polyfleet plan -o` writes it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")],
    window: Annotated[
        str | None, typer.Option(help="The plan's window, by name or number; default: the one that costs most an hour.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="WORKLOAD=NAME or WORKLOAD/PRECISION=NAME: another checkpoint, by name or absolute path."),
    ] = None,
    weights_from: Annotated[
        str, typer.Option(help="hub, pvc:NAME, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or image:/FOLDER.")
    ] = "hub",
    secret: Annotated[
        str, typer.Option(help="The Kubernetes secret that holds HF_TOKEN; only its name is written.")
    ] = ("polyfleet"),
    namespace: Annotated[str, typer.Option(help="Kubernetes namespace; default: the context's own.")] = "",
) -> None:
    """Write a plan as files: kubernetes/ (one folder a cluster), sky/ (tasks) and compose/ (one machine each)."""
    from polyfleet import api
    from polyfleet.launch.manifests import Choice, plan_fleet, render, write_folder
    from polyfleet.launch.manifests.kubernetes import InCluster
    from polyfleet.launch.manifests.weights_from import parse_weights_from

    place = parse_weights_from(weights_from)
    choice = Choice(_pairs(weights or []), window, place.folder)
    planned = plan_fleet(api.load_plan(plan), choice, api.find_model)
    files, left_out = render(
        planned, InCluster(place, _name("--secret", secret), namespace and _name("--namespace", namespace))
    )
    removed = write_folder(output, files)
    for told in left_out:
        typer.echo(f"note: {told}", err=True)
    replicas = sum(len(line.replicas) for line in planned.lines)
    typer.echo(f"wrote {len(files)} files to {output}; replicas: {replicas}, machines: {len(planned.machines)}")
    typer.echo(f"window {planned.plan.windows[planned.window].name}, plan {planned.digest}")
    if removed:
        typer.echo(f"removed {len(removed)} files that the plan no longer has")


def _pairs(written: list[str]) -> dict[str, str]:
    from polyfleet.errors import InputError

    for text in written:
        if not all(text.partition("=")[::2]):
            raise InputError("--weights is not WORKLOAD=NAME", value=text, hint="for instance chat/fp8=org/model-FP8")
    return dict(text.split("=", 1) for text in written)


def _name(option: str, text: str) -> str:
    import re

    from polyfleet.errors import InputError

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise InputError(f"{option} is no name that Kubernetes takes", value=text, hint="lower case, digits and dashes")
    return text
