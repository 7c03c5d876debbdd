"""The container images in what a place is handed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

_PULL = "sudo docker pull "


def images_of(manifest: str) -> tuple[str, ...]:
    """Images of a replica's manifest: a list of Kubernetes objects, or a SkyPilot task whose setup pulls them."""
    if not manifest:
        return ()
    found = json.loads(manifest)
    if isinstance(found, dict):
        lines = [line for line in str(found.get("setup", "")).splitlines() if line.startswith(_PULL)]
        return tuple(dict.fromkeys(shlex.split(line)[-1] for line in lines))
    return tuple(dict.fromkeys(_in_pods(found)))


def _in_pods(value: Any) -> Iterator[str]:
    """Of every container, wherever the object keeps its pods."""
    if isinstance(value, dict):
        if isinstance(value.get("image"), str) and "name" in value:
            yield value["image"]
        for part in value.values():
            yield from _in_pods(part)
    elif isinstance(value, list):
        for part in value:
            yield from _in_pods(part)
