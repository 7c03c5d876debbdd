"""How an engine is started on a family of chips: images, flags, devices, and what Kubernetes calls the chip."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from polyfleet.catalog.reading import Row, optional_int, read_table
from polyfleet.errors import CatalogError
from polyfleet.terms.chip import Chip

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class EngineImage:
    """One row of `images.csv`.

    `speaks`: whose flags its command takes. `args` and `selector` have {memory}, {batched}, {slots}, {topology} left to
    be filled in. `fp8_args`: flags that serve a bf16 checkpoint in fp8, None where there are none; `mxfp4_args`: flags
    that an mxfp4 checkpoint needs. `kv_fp8`, `kv_bf16`: flags that force the format of the KV cache, empty where it
    follows the checkpoint. `devices`: `gpus` (Docker's own), or device files, {n} numbered from 0. `visible`: the
    variable that picks chips of a machine that several replicas share, `visible_all` its value where one has them all.
    `resource_per_chip`: what Kubernetes counts in one chip. `slots`, `context`: requests decoded at once and tokens of
    the longest request, unless told otherwise (None: as many as fit). `cold_start_s` None: nobody has published one.
    """

    family: str
    chips: tuple[str, ...]
    engine: str
    speaks: str
    image: str
    args: tuple[str, ...]
    fp8_args: tuple[str, ...] | None
    mxfp4_args: tuple[str, ...]
    kv_fp8: tuple[str, ...]
    kv_bf16: tuple[str, ...]
    env: Mapping[str, str]
    devices: tuple[str, ...]
    groups: tuple[str, ...]
    capabilities: tuple[str, ...]
    security: tuple[str, ...]
    runtime: str
    privileged: bool
    host_network: bool
    host_ipc: bool
    shm_gib: int
    resource: str
    resource_per_chip: int
    extra_resources: Mapping[str, str]
    visible: str
    visible_all: str
    selector: Mapping[str, str]
    topologies: Mapping[int, str]
    slots: int
    context: int | None
    multi_node: bool
    compiles: bool
    cold_start_s: int | None
    cold_start_source: str
    source: str
    as_of: str
    note: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a provider's Kubernetes and SkyPilot call things; empty where nothing is known.

    `type_label` holds the instance type of a node; `spot_label` is key=value on nodes that can be taken away.
    """

    provider: str
    sky_cloud: str = ""
    type_label: str = ""
    spot_label: str = ""
    source: str = ""
    as_of: str = ""


@cache
def load_images() -> tuple[EngineImage, ...]:
    """All rows, in the table's order."""
    return tuple(_image(row) for row in read_table("images.csv"))


@cache
def load_clusters() -> Mapping[str, Cluster]:
    """By provider; one that is not in the table has nothing known."""
    names = ("provider", "sky_cloud", "type_label", "spot_label", "source", "as_of")
    return {row["provider"]: Cluster(**{name: row[name] for name in names}) for row in read_table("clusters.csv")}


def image_for(chip: Chip, engine: str) -> EngineImage:
    """How `engine` is started on `chip`. Raises CatalogError naming the engines that are known there."""
    rows = [
        row for row in load_images() if row.family == chip.family and (row.chips == ("*",) or chip.name in row.chips)
    ]
    for row in rows:
        if row.engine == engine:
            return row
    known = ", ".join(row.engine for row in rows)
    hint = f"there it is known for {known}" if known else "the catalog knows no engine for this chip"
    raise CatalogError(f"nothing is known about starting this engine on {chip.name}", value=engine, hint=hint)


def _image(row: Row) -> EngineImage:
    return EngineImage(
        family=row["family"],
        chips=tuple(row["chips"].split()),
        engine=row["engine"],
        speaks=row["speaks"],
        image=row["image"],
        args=tuple(shlex.split(row["args"])),
        fp8_args=tuple(shlex.split(row["fp8_args"])) or None,
        mxfp4_args=tuple(shlex.split(row["mxfp4_args"])),
        kv_fp8=tuple(shlex.split(row["kv_fp8"])),
        kv_bf16=tuple(shlex.split(row["kv_bf16"])),
        env=_pairs(row["env"]),
        devices=tuple(row["devices"].split()),
        groups=tuple(row["groups"].split()),
        capabilities=tuple(row["capabilities"].split()),
        security=tuple(row["security"].split()),
        runtime=row["runtime"],
        privileged=row["privileged"] == "yes",
        host_network=row["host_network"] == "yes",
        host_ipc=row["host_ipc"] == "yes",
        shm_gib=int(row["shm_gib"]),
        resource=row["resource"],
        resource_per_chip=int(row["resource_per_chip"]),
        extra_resources=_pairs(row["extra_resources"]),
        visible=row["visible"],
        visible_all=row["visible_all"],
        selector=_pairs(row["selector"]),
        topologies={int(chips): shape for chips, shape in _pairs(row["topologies"]).items()},
        slots=int(row["slots"]),
        context=optional_int(row["context"]),
        multi_node=row["multi_node"] == "yes",
        compiles=row["compiles"] == "yes",
        cold_start_s=optional_int(row["cold_start_s"]),
        cold_start_source=row["cold_start_source"],
        source=row["source"],
        as_of=row["as_of"],
        note=row["note"],
    )


def _pairs(text: str) -> dict[str, str]:
    """`key=value` pairs, separated by spaces."""
    return dict(pair.split("=", 1) for pair in text.split())
