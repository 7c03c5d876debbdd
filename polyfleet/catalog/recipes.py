"""What runs on which chip: the recipe table, and the builds it allows for a model on an instance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from polyfleet.catalog.fit import head_problem, memory_problem
from polyfleet.catalog.reading import Row, did_you_mean, read_table
from polyfleet.catalog.spelling import squeezed
from polyfleet.errors import CatalogError
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Model
from polyfleet.terms.precision import Precision


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one engine runs on one family of chips.

    `tensor_parallel` and `max_chips` count chips. `head_rule`: `divide` = attention heads must divide over the devices,
    `pad` = the engine pads them up to the next power of two. `mixers`: kinds of attention with kernels.
    `attention_dp`: attention split by sequence while experts are shared. `memory_fraction` of a chip, less
    `reserve_gib`, holds weights and KV cache.
    """

    family: str
    chips: tuple[str, ...]
    engine: str
    default: bool
    precisions: tuple[Precision, ...]
    kv_precisions: tuple[Precision, ...]
    tensor_parallel: tuple[int, ...]
    max_chips: int
    head_rule: str
    mixers: tuple[str, ...]
    moe: bool
    attention_dp: bool
    memory_fraction: float
    reserve_gib: float
    source: str
    as_of: str
    note: str

    def usable_gib(self, chip: Chip) -> float:
        """Memory of one chip left for weights and KV cache."""
        return chip.memory_gib * self.memory_fraction - self.reserve_gib


@cache
def load_recipes() -> tuple[Recipe, ...]:
    """All recipes, in the table's order."""
    return tuple(_recipe(row) for row in read_table("recipes.csv"))


def find_engine(name: str) -> str:
    """An engine's name as the recipes spell it; case, spaces and dashes do not matter.

    Raises CatalogError with the closest names where no recipe uses it.
    """
    by_name = {squeezed(recipe.engine): recipe.engine for recipe in load_recipes()}
    if squeezed(name) not in by_name:
        raise CatalogError("unknown engine", value=name, hint=did_you_mean(name, by_name.values()))
    return by_name[squeezed(name)]


def recipes_for(chip: Chip, engines: Sequence[str] | None = None) -> tuple[Recipe, ...]:
    """Recipes of a chip: the default engine's, or those of the named engines."""
    fitting = [r for r in load_recipes() if r.family == chip.family and (r.chips == ("*",) or chip.name in r.chips)]
    return tuple(r for r in fitting if (r.default if engines is None else r.engine in engines))


def builds_for(
    model: Model,
    chip: Chip,
    precisions: Sequence[Precision] | None,
    max_chips: int,
    *,
    engines: Sequence[str] | None = None,
    kv_precisions: Sequence[Precision] | None = None,
) -> tuple[Build, ...]:
    """All builds of a model that fit an instance of `max_chips` chips, smallest first.

    `precisions` None = the checkpoint's own. `kv_precisions` None = the checkpoint's own where the chip has it, else
    bf16. A mixture of experts is laid out by tensor parallel, and by attention-DP with its experts spread where the
    engine can. Empty where nothing fits: `why_not` tells the reason.
    """
    tried = _tried(model, chip, precisions, max_chips, engines, kv_precisions)
    return tuple(sorted({build for build, problem in tried if build and not problem}, key=lambda b: (b.chips, b)))


def why_not(
    model: Model,
    chip: Chip,
    precisions: Sequence[Precision] | None,
    max_chips: int,
    *,
    engines: Sequence[str] | None = None,
    kv_precisions: Sequence[Precision] | None = None,
) -> str:
    """Why `builds_for` finds nothing; empty where it finds a build. Tells what came nearest."""
    problems = []
    for build, problem in _tried(model, chip, precisions, max_chips, engines, kv_precisions):
        if build and not problem:
            return ""
        problems.append(problem)
    return f"{model.name} on {max_chips} x {chip.name}: {problems[-1]}" if problems else ""


Tried = tuple[Build | None, str]


def _tried(
    model: Model,
    chip: Chip,
    precisions: Sequence[Precision] | None,
    max_chips: int,
    engines: Sequence[str] | None,
    kv_precisions: Sequence[Precision] | None,
) -> Iterator[Tried]:
    """Every layout looked at, with what forbids it; the last one came nearest to running."""
    recipes = recipes_for(chip, engines)
    if not recipes:
        named = f" with {' or '.join(engines)}" if engines else ""
        yield None, f"the catalog has no recipe for this chip{named}"
    for recipe in recipes:
        if problem := _model_problem(model, recipe):
            yield None, problem
            continue
        asked = tuple(precisions) if precisions is not None else (model.checkpoint.precision,)
        runnable = [p for p in asked if p in recipe.precisions]
        if not runnable:
            yield None, f"{recipe.engine} has no kernels for {_words(asked)} here; it runs {_words(recipe.precisions)}"
        kv_choices = _kv_choices(model, recipe, kv_precisions)
        if not kv_choices:
            yield None, f"{recipe.engine} keeps no {_words(kv_precisions or ())} KV cache here"
        for precision in runnable:
            for kv in kv_choices:
                yield from _layouts(model, chip, recipe, (precision, kv), max_chips)


def _layouts(
    model: Model, chip: Chip, recipe: Recipe, formats: tuple[Precision, Precision], max_chips: int
) -> Iterator[Tried]:
    precision, kv = formats
    degrees = [n for n in recipe.tensor_parallel if n <= min(max_chips, recipe.max_chips)]
    if not degrees:
        yield None, f"{recipe.engine} needs at least {recipe.tensor_parallel[0]} chips"
    for chips in degrees:
        ep = chips if _experts_split_badly(model, precision, chips * chip.cores) else 1
        build = Build(model.name, chip.name, chips, recipe.engine, precision, kv, ep=ep)
        yield build, _layout_problem(model, chip, recipe, build)
        if model.is_moe and recipe.attention_dp and chips > 1:
            spread = Build(model.name, chip.name, 1, recipe.engine, precision, kv, ep=chips, dp=chips)
            yield spread, _layout_problem(model, chip, recipe, spread)


def _layout_problem(model: Model, chip: Chip, recipe: Recipe, build: Build) -> str:
    devices = build.tp * chip.cores
    return head_problem(model, devices, recipe.head_rule) or memory_problem(model, chip, build, recipe.usable_gib(chip))


def _model_problem(model: Model, recipe: Recipe) -> str:
    missing = {g.attention.kind for g in model.groups} - {*recipe.mixers, "none"}
    if missing:
        return f"{recipe.engine} has no kernels for {_words(sorted(missing))} attention here"
    if model.is_moe and not recipe.moe:
        return f"{recipe.engine} does not run mixtures of experts here"
    return ""


def _kv_choices(model: Model, recipe: Recipe, asked: Sequence[Precision] | None) -> tuple[Precision, ...]:
    if asked is not None:
        return tuple(p for p in asked if p in recipe.kv_precisions)
    own = model.checkpoint.kv_precision
    return (own if own in recipe.kv_precisions else Precision.BF16,)


def _experts_split_badly(model: Model, precision: Precision, devices: int) -> bool:
    """FP8 experts are scaled in blocks of 128: a cut through a block is refused, so whole experts are spread instead.

    The width of a gated expert is its parameters over three times the hidden size.
    """
    if precision is not Precision.FP8 or devices == 1:
        return False
    widths = [g.ffn.expert_params // (3 * model.hidden_size) for g in model.groups if g.ffn.experts]
    return any(width % (128 * devices) for width in widths)


def _words(names: Sequence[str]) -> str:
    return ", ".join(str(n) for n in names)


def _recipe(row: Row) -> Recipe:
    return Recipe(
        family=row["family"],
        chips=tuple(row["chips"].split()),
        engine=row["engine"],
        default=row["default"] == "yes",
        precisions=tuple(Precision(p) for p in row["precisions"].split()),
        kv_precisions=tuple(Precision(p) for p in row["kv_precisions"].split()),
        tensor_parallel=tuple(int(n) for n in row["tensor_parallel"].split()),
        max_chips=int(row["max_chips"]),
        head_rule=row["head_rule"],
        mixers=tuple(row["mixers"].split()),
        moe=row["moe"] == "yes",
        attention_dp=row["attention_dp"] == "yes",
        memory_fraction=float(row["memory_fraction"]),
        reserve_gib=float(row["reserve_gib"]),
        source=row["source"],
        as_of=row["as_of"],
        note=row["note"],
    )
