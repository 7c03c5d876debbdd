"""The replicas that a plan asks for in one window, each with its recipe, and the machines that they stand on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from polyfleet.catalog.chips import find_chip
from polyfleet.errors import InputError, PlanFileError
from polyfleet.launch.engines import split_command
from polyfleet.launch.manifests.boxes import Machine, machines_of
from polyfleet.launch.recipes import Ask, LaunchRecipe, fill_recipe
from polyfleet.launch.recipes.checkpoint import NoCheckpointError
from polyfleet.terms.build import Build
from polyfleet.terms.launch_section import OwnEngine
from polyfleet.terms.model import Model
from polyfleet.terms.plan import Line, Plan, Rental
from polyfleet.terms.precision import Precision

FindModel = Callable[[str], Model]
_BUILD = re.compile(r"(\d+)x(\S+) (\S+) (\S+) tp(\d+)(?: pp(\d+))?(?: dp(\d+))?(?: ep(\d+))?(?: kv-(\S+))?")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chooses beside the plan. `weights` by workload, or workload/precision. `window`: its name or
    number, None = the one that costs most an hour. `model_folder`: where the container finds the weights; None: it
    fetches them by name. `engines`: by workload, what is started in place of the recipe's."""

    weights: Mapping[str, str] = field(default_factory=dict)
    window: str | None = None
    model_folder: str | None = None
    engines: Mapping[str, OwnEngine] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A line of the plan with the recipe that its replicas share, and their ids. `loads`: the weights by name, or their
    path in the container where that is absolute."""

    line: Line
    build: Build
    model: Model
    ask: Ask
    loads: str
    model_folder: str | None
    replicas: tuple[str, ...]
    rental: Rental
    own: OwnEngine

    @property
    def recipe(self) -> LaunchRecipe:
        """As a pod starts it: alone with its chips, on the usual port."""
        return self.at(self.ask)

    def at(self, ask: Ask) -> LaunchRecipe:
        """The recipe with other chips of the machine, or another port. Raises as `fill_recipe`."""
        recipe = fill_recipe(self.model, find_chip(self.line.chip), self.build, ask)
        command = list(recipe.command)
        if self.own.command is not None:
            command = _own_command(self.own.command, ask)
        elif self.model_folder is not None and not self.loads.startswith("/"):
            command[command.index(self.loads)] = f"{self.model_folder}/{self.loads}"
        changes = {
            "command": tuple(command),
            "image": self.own.image or recipe.image,
            "health": self.own.health or recipe.health,
        }
        return recipe.model_copy(update=changes)

    @property
    def name(self) -> str:
        """What the ids of its replicas begin with."""
        return stem(self.line)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan's own replicas in one window. `left_out`: lines that are not started here, and why."""

    plan: Plan
    window: int
    lines: tuple[PlannedLine, ...]
    machines: tuple[Machine, ...]
    left_out: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the plan, short enough for a label."""
        return self.plan.digest[:16]


def plan_fleet(plan: Plan, choice: Choice, find_model: FindModel) -> Planned:
    """The replicas of one window.

    Raises PlanFileError where a line cannot be read, InputError where the window or a workload is unknown or a line
    needs a checkpoint that was not named, UnservableError where a line's build cannot run.
    """
    window = _window(plan, choice.window)
    _refuse_unknown_weights(plan, choice)
    _refuse_like_names(plan)
    asked = [line for line in plan.lines if line.kind == "own" and line.replicas[window] > 0]
    lines, missing = [], []
    for line in asked:
        try:
            lines.append(_planned(plan, line, window, choice, find_model))
        except NoCheckpointError as error:
            missing.append((line, str(error)))
    if missing:
        raise _no_checkpoint(missing)
    left_out = tuple(
        f"line {line.id}: {line.workload} on {line.provider} is bought by the token: it is a route, not a replica"
        for line in plan.lines if line.kind == "hosted"
    )  # fmt: skip
    made = tuple(lines)
    return Planned(plan, window, made, machines_of(plan, window, [(p.line, p.replicas) for p in made]), left_out)


def build_of(line: Line, model: str) -> Build:
    """The build that a line's text states. Raises PlanFileError where it is none."""
    found = _BUILD.fullmatch(line.build)
    if not found:
        raise PlanFileError(f"line {line.id} states no build", value=line.build, hint="make the plan again")
    chips, chip, precision, engine, *numbers, kv = found.groups()
    tp, pp, dp, ep = (int(n) if n else 1 for n in numbers)
    try:
        formats = Precision(precision), Precision(kv or "bf16")
    except ValueError:
        raise PlanFileError(f"line {line.id} states no build", value=line.build, hint="make the plan again") from None
    build = Build(model, chip, tp, engine, *formats, pp=pp, dp=dp, ep=ep)
    if build.chips != int(chips):
        raise PlanFileError(f"line {line.id}: {chips} chips are not tp x pp x dp", value=line.build)
    return build


def stem(line: Line) -> str:
    """The start of a line's replica ids: workload, chip, and a mark that stays while the build and its offer do."""
    mark = hashlib.sha256(f"{line.workload}\n{line.offers[0]}\n{line.build}".encode()).hexdigest()[:6]
    return f"{slug(line.workload, 14)}-{slug(line.chip, 12)}-{mark}"


def place_of(line: Line) -> str:
    """Where a line's replicas run, as a folder's name: one cluster, one context."""
    return slug(line.provider if line.region in ("", "*") else f"{line.provider}-{line.region}", 50)


def _planned(plan: Plan, line: Line, window: int, choice: Choice, find_model: FindModel) -> PlannedLine:
    model_name = next(w.model for w in plan.workloads if w.name == line.workload)
    model, build = find_model(model_name), build_of(line, model_name)
    rental = next(r for r in plan.rentals if r.offer in line.offers)
    nodes = -(-build.chips // rental.chips_per_instance)
    named = choice.weights.get(f"{line.workload}/{build.precision}") or choice.weights.get(line.workload)
    ask = Ask(weights=named, names=(line.workload, model_name), nodes=nodes)
    ids = tuple(f"{stem(line)}-{n}" for n in range(line.replicas[window]))
    made = PlannedLine(
        line, replace(build, model=model.name), model, ask, named or model.name, choice.model_folder, ids,
        rental, choice.engines.get(line.workload, OwnEngine()),
    )  # fmt: skip
    made.at(ask)  # what cannot run is told now, not while files are written
    return made


def _own_command(text: str, ask: Ask) -> list[str]:
    parts: list[str] = []
    for part in split_command(text):
        parts += ask.names if part == "{names}" else [part.replace("{port}", str(ask.port))]
    return parts


def _window(plan: Plan, wanted: str | None) -> int:
    names = [w.name for w in plan.windows]
    if wanted is None:
        return max(range(len(names)), key=lambda i: plan.windows[i].usd_per_month / plan.windows[i].hours_per_month)
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    known = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
    raise InputError("the plan has no such window", value=wanted, hint=f"there are {known}")


def _refuse_unknown_weights(plan: Plan, choice: Choice) -> None:
    names = [w.name for w in plan.workloads]
    for key in choice.weights:
        if key not in names and key.rpartition("/")[0] not in names:
            raise InputError("--weights names no workload of the plan", value=key, hint=f"there are {', '.join(names)}")


def _refuse_like_names(plan: Plan) -> None:
    seen: dict[str, str] = {}
    for workload in plan.workloads:
        other = seen.setdefault(slug(workload.name, 63), workload.name)
        if other != workload.name:
            problem = f"the workloads {other!r} and {workload.name!r} would have services of the same name"
            raise InputError(problem, hint="rename one of them in the spec and plan again")


def _no_checkpoint(missing: list[tuple[Line, str]]) -> InputError:
    line, problem = missing[0]
    needed = sorted({f"--weights {m.workload}/{m.build.split()[1]}=NAME" for m, _ in missing})
    return InputError(f"line {line.id}: {problem}", hint=f"add {' '.join(needed)}")


def slug(text: str, most: int) -> str:
    """Text as part of a name: lower case, digits and dashes, `most` characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:most].strip("-") or "x"
