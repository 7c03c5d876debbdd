"""Plans: make, save, load, explain, compare."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from polyfleet.api.load import Inputs, Progress, SpecLike, find_model, load_inputs
from polyfleet.errors import PlanFileError
from polyfleet.files import read_text, write_whole

if TYPE_CHECKING:
    from polyfleet.plan import Alternative, Curve, Reasons
    from polyfleet.terms.model import Model
    from polyfleet.terms.plan import Plan


def make_plan(spec: SpecLike | Inputs, *, gap: float = 0.01, progress: Progress | None = None) -> Plan:
    """The cheapest plan, proven to within `gap` of the best there can be.

    Raises InputError for a wrong spec, InfeasibleError where no plan keeps every limit.
    """
    from polyfleet.plan import make_plan as solve

    i = spec if isinstance(spec, Inputs) else load_inputs(spec, progress)
    plan = solve(i.spec, i.demands, i.catalog, i.speed, _finder(i), gap=gap, progress=progress)
    return plan.model_copy(update={"warnings": (*i.notes, *plan.warnings)}) if i.notes else plan


def save_plan(plan: Plan, path: str | Path) -> None:
    """Write the plan file, whole or not at all."""
    from polyfleet.terms.plan import plan_to_json

    write_whole(Path(path), plan_to_json(plan))


def load_plan(path: str | Path) -> Plan:
    """The plan of a file. Raises PlanFileError where it is none."""
    from polyfleet.terms.plan import plan_from_json

    file = Path(path)
    return plan_from_json(read_text(file, PlanFileError), file=str(file))


def why(plan: Plan | str | Path, *, progress: Progress | None = None) -> Reasons:
    """The reasons behind a plan: each line's runner-up, what each limit costs, who nearly served each bucket.

    Raises PlanFileError where a path holds no plan.
    """
    from polyfleet.plan import why as explain

    return explain(load_plan(plan) if isinstance(plan, str | Path) else plan, progress=progress)


def compare(spec: SpecLike | Inputs, *, gap: float = 0.02, progress: Progress | None = None) -> tuple[Alternative, ...]:
    """The plan beside what else there was: one supplier alone, all on demand, all hosted, no limits at all.

    Raises InputError for a wrong spec; an alternative that cannot be is a row that says why.
    """
    from polyfleet.plan import compare as solve

    i = spec if isinstance(spec, Inputs) else load_inputs(spec, progress)
    return solve(i.spec, i.demands, i.catalog, i.speed, _finder(i), gap=gap, progress=progress)


def breakeven(spec: SpecLike | Inputs, *, progress: Progress | None = None) -> tuple[Curve, ...]:
    """Own chips or tokens: cost over rate by workload and day shape, and the rate from which own chips are cheaper.

    Raises InputError for a wrong spec.
    """
    from polyfleet.plan import breakeven as curves

    i = spec if isinstance(spec, Inputs) else load_inputs(spec, progress)
    return curves(i.spec, i.demands, i.catalog, i.speed, _finder(i))


def _finder(inputs: Inputs) -> Callable[[str], Model]:
    return partial(find_model, folder=inputs.folder)


def save_page(plan: Plan, path: str | Path, title: str) -> None:
    """Write the report as one HTML page that opens offline."""
    from polyfleet.page.plan_page import plan_page

    write_whole(Path(path), plan_page(plan, title, datetime.now(UTC).date()))
