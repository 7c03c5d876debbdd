"""What runs: replicas as they are wanted, and as they are."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_NOT_RUNNING = {
    "offer", "usd_per_hour", "usd_per_m_input", "usd_per_m_output", "offers", "key_env", "shares",
    "buckets", "start_s",
}  # fmt: skip
HERE = "local"
"""The place of what runs as a process of this machine."""
ENDPOINT = "endpoint"
"""The place of what somebody else runs: it is a route, and nothing is started."""
SKY = "sky"
"""The place of what SkyPilot rents."""
KUBERNETES = "kubernetes:"
"""What the place of a namespace begins with: `kubernetes:CONTEXT/NAMESPACE`."""


class PricedOffer(_Part):
    """An offer that a machine may be rented as: its name in the catalog, the plan's price of the machine, and what its
    engine is asked for (SkyPilot's `resources`, as JSON)."""

    offer: str
    usd_per_hour: float = Field(ge=0)
    resources: str


class ReplicaSpec(_Part):
    """One replica as it is wanted. `id` stays the same however often it is started again.

    `served` are the model names that clients may ask for, `upstream_model` the name the engine knows the model by
    (None: any of them); `engine` a row of the engine table; `weights` a folder with a Hugging Face config.json, or a
    GGUF file; `slots` requests that it decodes at once, each with `context_tokens`. `command`, `health` (the path that
    answers 200 once it is ready) and `python` (the interpreter that has the engine) replace those of the engine's row.
    `port` None: any that is free. `usd_per_m_input` and `usd_per_m_output` are what the ledger counts for its tokens.

    `place` says whose driver it is; `manifest` what that driver asks for, as JSON (a list of Kubernetes objects, or a
    SkyPilot task). `machine` is the name of the machine that it stands on together with others (empty: its own),
    `offers` what the machine may be rented as, in order. `url` is the address of what runs already, `path` what its
    API's paths begin with, `key_env` the environment variable that holds its key, `key_file` a file that does. `shares`
    say how much of its names' traffic it takes beside the others, by size bucket of `buckets` (mean input and output
    tokens). `start_s`: so long it may take until it answers.
    """

    id: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
    workload: str
    served: tuple[str, ...] = Field(min_length=1)
    engine: str
    weights: str
    slots: int = Field(4, ge=1)
    context_tokens: int = Field(2048, ge=16)
    provider: str = "local"
    chip: str = "cpu"
    region: str = "here"
    offer: str = "local:here:cpu:on_demand"
    usd_per_hour: float = Field(0.0, ge=0)
    usd_per_m_input: float = Field(0.0, ge=0)
    usd_per_m_output: float = Field(0.0, ge=0)
    upstream_model: str | None = None
    command: tuple[str, ...] = ()
    health: str | None = Field(None, pattern=r"^/")
    python: str | None = None
    threads: int = Field(1, ge=1)
    port: int | None = Field(None, ge=1, le=65535)
    place: str = HERE
    manifest: str = ""
    machine: str = ""
    offers: tuple[PricedOffer, ...] = ()
    url: str | None = Field(None, pattern=r"^https?://[^/\s]+$")
    path: str = Field("/v1", pattern=r"^/[^\s?#]*[^\s?#/]$")
    key_env: str | None = None
    key_file: str | None = None
    shares: tuple[float, ...] = ()
    buckets: tuple[tuple[float, float], ...] = ()
    start_s: float = Field(900.0, gt=0)

    @property
    def digest(self) -> str:
        """Changes where the replica must be started anew to become what is wanted; a price can change while it runs."""
        return hashlib.sha256(self.model_dump_json(exclude=_NOT_RUNNING).encode()).hexdigest()[:16]


class ReplicaState(StrEnum):
    """STARTING: its process runs and does not answer yet. DRAINING: takes nothing new. FAILING: died so often that it
    is tried only rarely. STOPPED: died, and is about to be started again."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILING = "failing"
    STOPPED = "stopped"


class Replica(_Part):
    """One replica as it is. `process_started` is the operating system's start time of `pid`, so that a reused pid is
    not taken for it; `since` (UTC seconds) when it came into this state; `last_lines` the end of its log where it died.
    """

    spec: ReplicaSpec
    state: ReplicaState
    pid: int | None = None
    process_started: float | None = None
    url: str | None = None
    restarts: int = 0
    since: float = 0.0
    last_lines: tuple[str, ...] = ()
