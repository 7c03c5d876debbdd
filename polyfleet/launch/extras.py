"""What running a fleet needs beside polyfleet's own dependencies."""

from __future__ import annotations

import importlib.util

from polyfleet.errors import MissingExtraError

_STATE = ("sqlalchemy",)
_GATE = ("aiohttp", "orjson", "prometheus_client", "uvloop")


def require_extras(*, gate: bool = False) -> None:
    """Raises MissingExtraError where the extra `serve` is not installed; before anything is started."""
    if any(importlib.util.find_spec(module) is None for module in (*_STATE, *(_GATE if gate else ()))):
        raise MissingExtraError("running a fleet", "serve")
