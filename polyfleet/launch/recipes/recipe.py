"""The exact way to start one replica."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Device(BaseModel):
    """What the container is given of the machine. `files` are device files; `gpus` the numbers of the GPUs, given by
    Docker's own option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[str, ...] = ()
    gpus: tuple[int, ...] = ()


class LaunchRecipe(BaseModel):
    """A replica of a build, ready to be started.

    `chips` it takes, `devices` as the engine's own flags count them. `command` starts with the program, so that it
    replaces the image's own start. `served` are the names that it answers to. `privileged`, `host_network`, `host_ipc`,
    `runtime`, `groups` and `visible` (which chips of the machine it may see) are for Docker; in a pod the device plugin
    and `shm_gib` of shared memory stand in for them. `resources` and `selector` are Kubernetes'. `checkpoint` says
    which weights it loads. `cold_start_s` None: nobody has published one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    build: str
    model: str
    chip: str
    chips: int
    devices: int
    nodes: int
    engine: str
    image: str
    command: tuple[str, ...]
    port: int
    health: str
    served: tuple[str, ...]
    context_tokens: int
    slots: int
    checkpoint: str
    environment: dict[str, str]
    visible: dict[str, str]
    device: Device
    groups: tuple[str, ...]
    capabilities: tuple[str, ...]
    security: tuple[str, ...]
    runtime: str
    privileged: bool
    host_network: bool
    host_ipc: bool
    shm_gib: int
    resources: dict[str, str]
    selector: dict[str, str]
    compiles: bool
    cold_start_s: int | None
    cold_start_source: str
    notes: tuple[str, ...]
    source: str
    as_of: str
    limits_source: str
    limits_as_of: str
