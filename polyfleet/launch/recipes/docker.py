"""A recipe as a `docker run` line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from polyfleet.launch.engines import ENGINE_KEY
from polyfleet.launch.recipes.recipe import LaunchRecipe

SECRETS = ("HF_TOKEN", ENGINE_KEY)
"""Environment variables that are passed on by name: the value is the caller's, and is never written down."""


def docker_options(recipe: LaunchRecipe) -> list[str]:
    """Options of `docker run` that give the container what the engine needs."""
    options = ["--runtime", recipe.runtime] if recipe.runtime else []
    if recipe.device.gpus:
        options += ["--gpus", f'"device={",".join(str(n) for n in recipe.device.gpus)}"']
    options += [part for path in recipe.device.files for part in ("--device", path)]
    options += [part for group in recipe.groups for part in ("--group-add", group)]
    options += [part for name in recipe.capabilities for part in ("--cap-add", name)]
    options += [part for choice in recipe.security for part in ("--security-opt", choice)]
    options += ["--privileged"] if recipe.privileged else []
    options += ["--ipc", "host"] if recipe.host_ipc else ["--shm-size", f"{recipe.shm_gib}g"]
    options += ["--net", "host"] if recipe.host_network else ["-p", f"{recipe.port}:{recipe.port}"]
    options += [
        part for name, value in {**recipe.environment, **recipe.visible}.items() for part in ("-e", f"{name}={value}")
    ]
    return options + [part for name in SECRETS for part in ("-e", name)]


def docker_words(recipe: LaunchRecipe, before: Sequence[str] = ("--rm",), volumes: Sequence[str] = ()) -> list[str]:
    """The whole `docker run`, one word each. The image's own start is replaced by the recipe's."""
    mounts = [part for volume in volumes for part in ("-v", volume)]
    program, *arguments = recipe.command
    return [
        "docker", "run", *before, *docker_options(recipe), *mounts, "--entrypoint", program, recipe.image, *arguments,
    ]  # fmt: skip


def docker_line(recipe: LaunchRecipe, before: Sequence[str] = ("--rm",), volumes: Sequence[str] = ()) -> str:
    """The same for a shell."""
    return shlex.join(docker_words(recipe, before, volumes))
