"""`polyfleet recipe`: exactly how a model is started on a chip, and where that is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.launch.recipes import LaunchRecipe


def recipe(
    chip: Annotated[str, typer.Argument(help="A chip of the catalog, by name or alias, or cpu.")],
    model: Annotated[str, typer.Option(help="A catalog name, or a folder or file with a config.json.")],
    precision: Annotated[str | None, typer.Option(help="bf16, fp8, nvfp4, ...; default: the checkpoint's own.")] = None,
    chips: Annotated[int | None, typer.Option(min=1, help="Chips of one replica; default: the fewest that do.")] = None,
    engine: Annotated[str | None, typer.Option(help="Default: the chip's usual engine.")] = None,
    weights: Annotated[str | None, typer.Option(help="Another checkpoint, by name or path in the container.")] = None,
    context: Annotated[int | None, typer.Option(min=16, help="Tokens of the longest request.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=4096, help="Requests decoded at once.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the server.")] = 8000,
    as_json: Annotated[bool, typer.Option("--json", help="All fields as JSON.")] = False,
) -> None:
    """Show the image, command, devices, environment and limits for a model on a chip, with source and date."""
    from polyfleet import api
    from polyfleet.launch.recipes import Ask, choose_build, fill_recipe
    from polyfleet.launch.recipes.choose import chip_named

    found, known = chip_named(chip), api.find_model(model)
    build = choose_build(known, found, precision=precision, chips=chips, engine=engine)
    made = fill_recipe(known, found, build, Ask(weights, port=port, context_tokens=context, slots=slots))
    typer.echo(made.model_dump_json(indent=1) if as_json else "\n".join(_lines(made)))


def _lines(recipe: LaunchRecipe) -> list[str]:
    import shlex

    from polyfleet.launch.recipes.docker import docker_line

    rows = [
        ("build", f"{recipe.build}: {recipe.model}"),
        ("image", recipe.image),
        ("command", shlex.join(recipe.command)),
        ("docker", docker_line(recipe)),
        ("devices", _devices(recipe)),
        ("environment", " ".join(f"{k}={v}" for k, v in recipe.environment.items()) or "nothing"),
        ("weights", recipe.checkpoint),
        ("longest request", f"{recipe.context_tokens:,} tokens; {recipe.slots} requests at once"),
        ("shared memory", "the host's (--ipc host)" if recipe.host_ipc else f"{recipe.shm_gib} GiB"),
        ("privileges", _privileges(recipe)),
        ("Kubernetes", _kubernetes(recipe)),
        ("first start", _first_start(recipe)),
        *(("note", note) for note in recipe.notes),
        ("source", f"{recipe.source}; {recipe.as_of}"),
        *([("limits from", f"{recipe.limits_source}; {recipe.limits_as_of}")] if recipe.limits_source else []),
    ]
    return [f"{name:16} {text}" for name, text in rows]


def _devices(recipe: LaunchRecipe) -> str:
    counted = f"{recipe.chips} chip{'s' if recipe.chips > 1 else ''}"
    counted += "" if recipe.devices == recipe.chips else f", {recipe.devices} devices as the engine counts"  # fmt: skip
    return f"{counted}: {' '.join(recipe.device.files)}" if recipe.device.files else counted


def _privileges(recipe: LaunchRecipe) -> str:
    words = ["privileged"] if recipe.privileged else []
    words += ["the host's network"] if recipe.host_network else []
    words += [f"runtime {recipe.runtime}"] if recipe.runtime else []
    words += [f"group {name}" for name in recipe.groups]
    words += [f"capability {name}" for name in recipe.capabilities] + list(recipe.security)
    return ", ".join(words) or "none"


def _kubernetes(recipe: LaunchRecipe) -> str:
    resources = [f"{name}: {count}" for name, count in recipe.resources.items()]
    selector = [f"{key}={value}" for key, value in recipe.selector.items()]
    shm = f"{recipe.shm_gib} GiB of /dev/shm"
    return "; ".join([*resources, *selector, shm])


def _first_start(recipe: LaunchRecipe) -> str:
    compiling = "compiles" if recipe.compiles else "does not compile"
    if recipe.cold_start_s is None:
        return f"{compiling}; nobody has published how long it takes"
    return f"{compiling}; up to {recipe.cold_start_s} s ({recipe.cold_start_source})"
