"""From what a person writes to a build."""

from __future__ import annotations

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.images import CPU
from polyfleet.catalog.reading import did_you_mean
from polyfleet.catalog.recipes import builds_for, find_engine, recipes_for, why_not
from polyfleet.errors import InputError, UnservableError
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.model import Model
from polyfleet.terms.precision import Precision

_CPU = Chip(
    name=CPU, vendor="any", family=CPU, memory_gib=0.0, bandwidth_gb_s=0.0, tflops={}, link_name="", link_gb_s=0.0,
    domain_chips=1, cores=1, year=0, engines=("vllm-cpu",), source="", as_of="", verified=False,
)  # fmt: skip


def chip_named(name: str) -> Chip:
    """A chip of the catalog, or the CPU. Raises CatalogError with the closest names."""
    return _CPU if name.strip().casefold() == CPU else find_chip(name)


def choose_build(
    model: Model, chip: Chip, *, precision: str | None = None, chips: int | None = None, engine: str | None = None
) -> Build:
    """The smallest build of a model on a chip, or the one of exactly so many chips.

    Raises InputError or CatalogError for unknown names, UnservableError with the reason where none can run.
    """
    formats = None if precision is None else (_precision(precision),)
    if chip.name == CPU:
        return _cpu_build(model, formats, chips, engine)
    engines = None if engine is None else (find_engine(engine),)
    most = chips or max((r.max_chips for r in recipes_for(chip, engines)), default=1)
    found = builds_for(model, chip, formats, most, engines=engines)
    if not found:
        raise UnservableError(why_not(model, chip, formats, most, engines=engines))
    exact = [build for build in found if chips in (None, build.chips)]
    if not exact:
        sizes = " or ".join(str(n) for n in sorted({b.chips for b in found}))
        raise UnservableError(
            f"no build of {model.name} takes {chips} x {chip.name}; there are builds of {sizes} chips"
        )
    return min(exact, key=lambda build: (build.chips, build.dp))


def _cpu_build(model: Model, formats: tuple[Precision, ...] | None, chips: int | None, engine: str | None) -> Build:
    if engine not in (None, "vllm-cpu", "vllm"):
        raise UnservableError(f"{engine} does not run on a CPU here; vllm-cpu does")
    if (chips or 1) != 1:
        raise UnservableError(f"a replica on a CPU takes one machine, not {chips}")
    asked = formats[0] if formats else Precision.BF16
    if asked is not Precision.BF16:
        raise UnservableError(f"vllm-cpu has no kernels for {asked} here; it runs bf16")
    return Build(model.name, CPU, 1, "vllm-cpu", asked, Precision.BF16)


def _precision(text: str) -> Precision:
    try:
        return Precision(text.casefold())
    except ValueError:
        raise InputError("unknown precision", value=text, hint=did_you_mean(text, Precision)) from None
