"""Which weights a build loads, and the flags that go with them."""

from __future__ import annotations

from dataclasses import dataclass

from polyfleet.catalog.images import EngineImage
from polyfleet.catalog.models import find_model, known_names
from polyfleet.errors import UnservableError
from polyfleet.terms.build import Build
from polyfleet.terms.model import Model
from polyfleet.terms.precision import Precision


class NoCheckpointError(UnservableError):
    """The published weights are stored in another format than the build's, and no flag of the engine makes them so."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What is loaded: a name or path for the engine, flags, and the same in words."""

    name: str
    flags: tuple[str, ...]
    words: str


def weights_of(model: Model, build: Build, image: EngineImage, named: str | None) -> Weights:
    """The weights of a build: those that the user named, or the published ones.

    Raises NoCheckpointError where they are stored in another format and cannot be served in the build's. A name that
    the catalog does not know is taken on the user's word.
    """
    if named is not None:
        _refuse_other_format(named, build)
        flags = image.mxfp4_args if build.precision is Precision.MXFP4 else ()
        return Weights(named, flags, f"as named, taken to be stored in {build.precision}")
    stored = model.checkpoint.precision
    if stored == build.precision:
        flags = image.mxfp4_args if stored is Precision.MXFP4 else ()
        return Weights(model.name, flags, f"as published, stored in {stored}")
    if build.precision is Precision.FP8 and stored in (Precision.BF16, Precision.FP32) and image.fp8_args is not None:
        return Weights(
            model.name, image.fp8_args, f"as published, stored in {stored}; quantised to fp8 as it is loaded"
        )
    raise NoCheckpointError(
        f"{model.name} is published in {stored}, and {build.engine} on {build.chip} cannot serve that in "
        f"{build.precision}: name a checkpoint that is stored in {build.precision}"
    )


def _refuse_other_format(named: str, build: Build) -> None:
    if named.casefold() not in known_names():
        return
    stored = find_model(named).checkpoint.precision
    if stored != build.precision:
        raise NoCheckpointError(f"{named} is stored in {stored}, not in {build.precision}: name another checkpoint")


def kv_flags(model: Model, build: Build, image: EngineImage) -> tuple[str, ...]:
    """Flags that keep the KV cache in the build's format; none where the checkpoint's own is that already."""
    if build.kv_precision == model.checkpoint.kv_precision:
        return ()
    return image.kv_fp8 if build.kv_precision is Precision.FP8 else image.kv_bf16
