"""Where the gate may send a request."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyfleet.errors import RoutesError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Route(_Part):
    """One replica or hosted API as the gate sees it; nothing here says where it runs.

    `url` without a path, `path` what its API's paths begin with, in place of `/v1`; `served` the names clients ask for,
    `upstream_model` the name to ask the engine for (None: as the client asked). `weights` by size bucket of
    `Routes.buckets` (empty: `weight` for all). `slots` requests that it decodes at once. Prices are for the ledger.
    `key_env` names the environment variable that holds the upstream's key, `key_file` a file that does: the key itself
    is never written down. `verdict` comes from parity: a failed route takes no traffic. `canary` is the share of
    traffic that a route under trial takes.
    """

    id: str
    url: str = Field(pattern=r"^https?://[^/\s?#@]+$")
    path: str = Field("/v1", pattern=r"^/[^\s?#]*[^\s?#/]$")
    engine: str = "openai"
    served: tuple[str, ...] = Field(min_length=1)
    upstream_model: str | None = None
    workload: str = ""
    provider: str = "local"
    chip: str = "cpu"
    region: str = "here"
    weight: float = Field(1.0, ge=0)
    weights: tuple[float, ...] = ()
    slots: int | None = Field(None, ge=1)
    context_tokens: int | None = Field(None, ge=1)
    usd_per_m_input: float = Field(0.0, ge=0)
    usd_per_m_output: float = Field(0.0, ge=0)
    key_env: str | None = None
    key_file: str | None = None
    state: Literal["open", "draining"] = "open"
    verdict: Literal["unknown", "pass", "fail"] = "unknown"
    canary: float | None = Field(None, ge=0, le=1)

    @property
    def has_key(self) -> bool:
        """Whether a key is sent to it: then it is somebody else's, and known by its answers alone."""
        return self.key_env is not None or self.key_file is not None


class SizeBucket(_Part):
    """Requests of like size: mean input and output tokens."""

    input_tokens: float = Field(gt=0)
    output_tokens: float = Field(gt=0)


class Routes(_Part):
    """All routes at one moment. `buckets` by served name: what `Route.weights` are by. `models`: names that are to be
    served even where no route does just now: clients wait for them, and are not told that there is no such model."""

    version: Literal[1] = 1
    routes: tuple[Route, ...] = ()
    models: tuple[str, ...] = ()
    buckets: dict[str, tuple[SizeBucket, ...]] = Field(default_factory=dict)


_HINTS = {
    "url": "write scheme, host and port without a path, such as http://127.0.0.1:8000",
    "path": "write what its API's paths begin with, such as /v1 or /openai/v1",
    "state": "write open or draining",
    "verdict": "write unknown, pass or fail",
    "served": "name the models that clients may ask it for",
}


def routes_from_json(text: str, *, file: str | Path | None = None) -> Routes:
    """Routes of a document. Raises RoutesError with what is wrong and where."""
    try:
        return Routes.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = f"`{place}`: {first['msg']}" if place else str(first["msg"])
        value = first.get("input")
        shown = value if isinstance(value, str | int | float) and place else None
        hint = _HINTS.get(str(first["loc"][-1])) if first["loc"] else None
        raise RoutesError(told, file=None if file is None else str(file), value=shown, hint=hint) from None
