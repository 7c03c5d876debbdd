"""Fills the tables' rows for one build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from polyfleet.catalog.fit import LEAST_CONTEXT_TOKENS, least_kv_gib_per_chip, weight_gib_per_chip
from polyfleet.catalog.images import CPU, EngineImage, image_for
from polyfleet.catalog.recipes import Recipe, builds_for, recipes_for, why_not
from polyfleet.errors import UnservableError
from polyfleet.launch.recipes.checkpoint import kv_flags, weights_of
from polyfleet.launch.recipes.dialects import DIALECTS
from polyfleet.launch.recipes.recipe import Device, LaunchRecipe
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Model

_MOST_BATCHED = 8192
_LEAST_SLOTS_CONTEXTS = 2
_CPU_CONTEXT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked beyond the build. None = the table's, or what fits. `weights`: a checkpoint's name or its path in
    the container. `names`: names that clients may ask for. `first_chip`: the first of its chips on the machine,
    `shared`: whether other replicas use its other chips. `nodes`: machines that one replica spans."""

    weights: str | None = None
    names: tuple[str, ...] = ()
    port: int = 8000
    context_tokens: int | None = None
    slots: int | None = None
    first_chip: int = 0
    shared: bool = False
    nodes: int = 1


def fill_recipe(model: Model, chip: Chip, build: Build, ask: Ask | None = None) -> LaunchRecipe:
    """The recipe of a build.

    Raises UnservableError with the reason where the limits that the plan reads forbid it, where a checkpoint in the
    build's format is needed, or where the asked context does not fit; CatalogError where nothing is known about it.
    """
    ask = ask or Ask()
    image, limits = image_for(chip, build.engine), _limits(model, chip, build)
    context = _context(model, chip, build, limits, ask.context_tokens, image.context)
    slots = ask.slots or image.slots
    command, checkpoint, served = _command(model, chip, build, image, ask, _values(limits, context, slots, ask))
    here = range(ask.first_chip, ask.first_chip + build.chips // ask.nodes)
    return LaunchRecipe(
        build=build.label, model=model.name, chip=chip.name, chips=build.chips, devices=build.chips * chip.cores,
        nodes=ask.nodes, engine=build.engine, image=image.image, command=command, port=ask.port,
        health=DIALECTS[image.speaks].health, served=served, context_tokens=context, slots=slots, checkpoint=checkpoint,
        environment=dict(image.env), visible=_visible(image, here, chip.cores, ask.shared),
        device=_device(image, here, chip.cores), groups=image.groups, capabilities=image.capabilities,
        security=image.security, runtime=image.runtime, privileged=image.privileged, host_network=image.host_network,
        host_ipc=image.host_ipc, shm_gib=image.shm_gib, resources=_resources(image, len(here)),
        selector=_selector(image, len(here)), compiles=image.compiles, cold_start_s=image.cold_start_s,
        cold_start_source=image.cold_start_source, notes=_notes(image, limits, len(here)), source=image.source,
        as_of=image.as_of, limits_source=limits.source if limits else "", limits_as_of=limits.as_of if limits else "",
    )  # fmt: skip


def _limits(model: Model, chip: Chip, build: Build) -> Recipe | None:
    """The row that the plan reads, after it has allowed the build; None on a CPU, which is never planned for."""
    if chip.name == CPU:
        return None
    formats, engines, kv = (build.precision,), (build.engine,), (build.kv_precision,)
    if build not in builds_for(model, chip, formats, build.chips, engines=engines, kv_precisions=kv):
        reason = why_not(model, chip, formats, build.chips, engines=engines, kv_precisions=kv)
        reason = reason or f"{model.name}: {build} is no layout of this engine"
        raise UnservableError(reason)
    return recipes_for(chip, (build.engine,))[0]


def _context(
    model: Model, chip: Chip, build: Build, limits: Recipe | None, asked: int | None, usual: int | None
) -> int:
    """Tokens of the longest request: as asked, or as many as fit twice beside the weights, the model's own at most."""
    fits = (
        _CPU_CONTEXT_TOKENS * _LEAST_SLOTS_CONTEXTS if limits is None else _tokens_that_fit(model, chip, build, limits)
    )
    most = model.max_context_tokens
    if asked is None:
        twice = max(LEAST_CONTEXT_TOKENS, fits // _LEAST_SLOTS_CONTEXTS // 1024 * 1024)
        return min(most, twice, usual or most)
    if asked > most:
        raise UnservableError(f"{model.name} has a context of {most:,} tokens; {asked:,} were asked for")
    if limits is not None and asked > max(fits, LEAST_CONTEXT_TOKENS):
        raise UnservableError(
            f"{model.name} on {build.label}: {fits:,} tokens of KV cache fit; {asked:,} were asked for"
        )
    return asked


def _tokens_that_fit(model: Model, chip: Chip, build: Build, limits: Recipe) -> int:
    """Tokens of KV cache beside the weights, by the cost of the least cache that the plan counts."""
    least = least_kv_gib_per_chip(model, chip, build)
    free = limits.usable_gib(chip) - weight_gib_per_chip(model, build)
    if least <= 0:
        return model.max_context_tokens * _LEAST_SLOTS_CONTEXTS
    return int(4 * min(LEAST_CONTEXT_TOKENS, model.max_context_tokens) * free / least)


def _values(limits: Recipe | None, context: int, slots: int, ask: Ask) -> dict[str, str]:
    return {
        "port": str(ask.port), "context": str(context), "slots": str(slots),
        "memory": f"{limits.memory_fraction:.2f}" if limits else "", "batched": str(min(_MOST_BATCHED, context)),
    }  # fmt: skip


def _command(
    model: Model, chip: Chip, build: Build, image: EngineImage, ask: Ask, values: Mapping[str, str]
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """The command, the weights in words, and the names that are served."""
    dialect, weights = DIALECTS[image.speaks], weights_of(model, build, image, ask.weights)
    served = ask.names or (model.name,)
    served = served if dialect.many_names else served[:1]
    parts = (
        *dialect.command, dialect.names, *served, *dialect.layout(build, chip.cores), *image.args, *weights.flags,
        *kv_flags(model, build, image),
    )  # fmt: skip
    return tuple(_filled(part, {**values, "model": weights.name}) for part in parts), weights.words, served


def _device(image: EngineImage, chips: range, cores: int) -> Device:
    """Device files, those that are numbered one a chip, and GPUs."""
    if image.devices == ("gpus",):
        return Device(gpus=tuple(range(chips.start * cores, chips.stop * cores)))
    numbered = [path for path in image.devices if "{n}" in path]
    plain = [path for path in image.devices if "{n}" not in path]
    return Device(files=(*plain, *(path.replace("{n}", str(n)) for n in chips for path in numbered)))


def _visible(image: EngineImage, chips: range, cores: int, shared: bool) -> dict[str, str]:
    """The variable that picks its chips. AMD numbers devices, and its device files open all of them."""
    per_chip = cores if image.resource_per_chip > 1 else 1
    numbers = ",".join(str(n) for n in range(chips.start * per_chip, chips.stop * per_chip))
    value = numbers if shared else image.visible_all
    return {image.visible: value} if image.visible and value else {}


def _resources(image: EngineImage, chips: int) -> dict[str, str]:
    own = {image.resource: str(chips * image.resource_per_chip)} if image.resource else {}
    return {**own, **image.extra_resources}


def _selector(image: EngineImage, chips: int) -> dict[str, str]:
    shape = image.topologies.get(chips)
    return {key: value.replace("{topology}", shape or "") for key, value in image.selector.items()
            if shape or "{topology}" not in value}  # fmt: skip


def _notes(image: EngineImage, limits: Recipe | None, chips: int) -> tuple[str, ...]:
    notes = [image.note, limits.note if limits else ""]
    if image.topologies and chips not in image.topologies:
        notes.append(f"no slice of {chips} chips is published: the selector names none")
    return tuple(note for note in notes if note)


def _filled(part: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        part = part.replace("{" + name + "}", value)
    return part
