"""All that can be looked at, for this machine and for what a spec would bring up."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from polyfleet.launch.desired import available_bytes
from polyfleet.launch.doctor.finding import Finding
from polyfleet.launch.doctor.hosts import look_at_endpoint
from polyfleet.launch.doctor.images import look_at_image
from polyfleet.launch.doctor.places import look_at_place
from polyfleet.launch.driver import Driver
from polyfleet.launch.drivers import make_driver
from polyfleet.launch.engines import ENGINE_KEY
from polyfleet.launch.home import Home
from polyfleet.launch.manifests.images_in import images_of
from polyfleet.terms.fleet import ENDPOINT, HERE, SKY, ReplicaSpec

Look = Callable[[], Iterable[Finding]]
_THREADS = 8
_EXTRAS = {"serve": "sqlalchemy", "local": "xllamacpp", "kubernetes": "lightkube", "otel": "opentelemetry"}
_LEAST_FREE_GIB = 1.0
_HERE = "this machine"


def machine(home: Home) -> Iterator[Finding]:
    """This machine: what is installed, and whether there is room."""
    for extra, module in _EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            yield Finding(_HERE, f"extra {extra}", "ok")
        else:
            yield Finding(_HERE, f"extra {extra}", "unknown", f"not installed: pip install 'polyfleet[{extra}]'")
    there = next(folder for folder in (home.folder, *home.folder.parents) if folder.exists())
    free_gib = shutil.disk_usage(there).free / 2**30
    yield Finding(_HERE, "disk", "ok" if free_gib >= _LEAST_FREE_GIB else "fails", f"{free_gib:.1f} GiB free")
    if not importlib.util.find_spec("sky") and not os.environ.get("POLYFLEET_SKY_PYTHON"):
        told = "not installed: pip install 'polyfleet[sky]', or name the Python that has it in POLYFLEET_SKY_PYTHON"
        yield Finding(_HERE, "extra sky", "unknown", told)
    if (memory := available_bytes()) is not None:
        yield Finding(_HERE, "memory", "ok", f"{memory / 2**30:.1f} GiB free")


def examine(
    home: Home,
    replicas: Sequence[ReplicaSpec],
    environment: Mapping[str, str] = os.environ,
    make: Callable[[Home, str], Driver] = make_driver,
) -> list[Finding]:
    """Each key, place, image and endpoint that these replicas need; `make` gives the driver of a place. Takes as long
    as the slowest answer."""
    looks: list[Look] = [partial(_keys, replicas, environment)]
    for place in dict.fromkeys(spec.place for spec in replicas if spec.place not in (HERE, ENDPOINT)):
        specs = [spec for spec in replicas if spec.place == place]
        looks.append(partial(look_at_place, partial(make, home, place), place, specs))
    images = dict.fromkeys(image for spec in replicas for image in images_of(spec.manifest))
    looks += [partial(_one, look_at_image, image) for image in images]
    looks += [partial(_one, look_at_endpoint, spec, environment) for spec in replicas if spec.place == ENDPOINT]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [finding for found in pool.map(_all, looks) for finding in found]


def _all(look: Look) -> list[Finding]:
    return list(look())


def _one(look: Callable[..., Finding], *asked: object) -> list[Finding]:
    return [look(*asked)]


def _keys(replicas: Sequence[ReplicaSpec], environment: Mapping[str, str]) -> Iterator[Finding]:
    """The key of engines whose ports face the world."""
    if not any(spec.place == SKY for spec in replicas):
        return
    if environment.get(ENGINE_KEY):
        yield Finding(_HERE, ENGINE_KEY, "ok", "set")
        return
    told = "not set: ports that SkyPilot opens face the world, and this is the key that their engines ask for; "
    yield Finding(_HERE, ENGINE_KEY, "fails", f"{told}export {ENGINE_KEY}=$(openssl rand -hex 24)")
