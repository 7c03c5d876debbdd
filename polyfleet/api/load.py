"""A spec and everything it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyfleet.api.names import canonical
from polyfleet.api.sense import notes_on, refuse_contradictions
from polyfleet.errors import InputError, ModelError, RowsError, SpecError
from polyfleet.files import read_text
from polyfleet.settings import Settings
from polyfleet.terms.demand import Demand
from polyfleet.terms.spec import MOST_PER_S, Spec, Traffic
from polyfleet.terms.spec_text import SpecSource, parse_source

if TYPE_CHECKING:
    from polyfleet.catalog.store import Catalog
    from polyfleet.speed.model import SpeedModel
    from polyfleet.terms.model import Model

Progress = Callable[[str], None]
SpecLike = str | Path | SpecSource


@dataclass(frozen=True)
class Inputs:
    """All that a plan is made from.

    `demands` by workload (batch workloads have none); `models` by workload, None for a closed model, which is sold by
    the token and has no published architecture. `notes` tell what the spec sets without effect.
    """

    source: SpecSource
    demands: Mapping[str, Demand]
    models: Mapping[str, Model | None]
    catalog: Catalog
    speed: SpeedModel
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> Spec:
        return self.source.spec

    @property
    def folder(self) -> Path:
        """The folder that paths in the spec are relative to."""
        return folder_of(self.source)


def load_spec(path: str | Path) -> SpecSource:
    """The spec of a file. Raises SpecError with file, line, value and what would be right."""
    file = Path(path)
    return parse_source(read_text(file, SpecError), file=str(file))


def load_inputs(spec: SpecLike, progress: Progress | None = None) -> Inputs:
    """The spec, and everything it names: models, traces, catalog, speeds.

    Raises InputError where anything it names is unknown or cannot be read, or where its settings contradict each other,
    with the spec's line.
    """
    tell = progress or (lambda _text: None)
    source = spec if isinstance(spec, SpecSource) else load_spec(spec)
    folder = folder_of(source)
    tell("reading the catalog")
    catalog = catalog_of(source, folder)
    source = canonical(source, catalog)
    models = {name: _model(source, name, folder, catalog) for name in source.spec.workloads}
    refuse_contradictions(source, models)
    for name, workload in source.spec.workloads.items():
        if (batch := workload.batch) is not None:
            rate = batch.input_tokens / max(batch.input.mean, 1.0) / batch.within
            _refuse_too_many(source, (name, "batch"), rate, "look at `input_tokens`, `every` and `within`")
    tell("reading the traffic")
    demands = {
        name: _demand(source, name, workload.traffic, folder)
        for name, workload in source.spec.workloads.items()
        if workload.traffic is not None
    }
    return Inputs(source, demands, models, catalog, speed_model(), notes_on(source, models, catalog))


def folder_of(source: SpecSource) -> Path:
    """The folder that paths in a spec are relative to."""
    return Path(source.file).parent if source.file else Path()


def find_model(name_or_path: str, folder: Path = Path()) -> Model:
    """A model of the catalog, or the one of a folder or file with a config.json, relative to `folder`.

    Raises ModelError with the closest names.
    """
    from polyfleet.catalog import models

    own = folder / name_or_path
    return models.find_model(str(own) if len(name_or_path) < 1000 and own.exists() else name_or_path)


def demand_of(traffic: Traffic, folder: Path = Path()) -> Demand:
    """The demand that a spec's traffic states; a trace's path is relative to `folder`. Raises TraceError."""
    from polyfleet.traffic import demand_from_rate, summarise

    if traffic.trace is not None:
        return summarise(folder / traffic.trace, scale=traffic.scale, growth=traffic.growth)
    assert traffic.rate is not None
    assert traffic.input is not None
    assert traffic.output is not None
    return demand_from_rate(traffic.rate * traffic.growth, traffic.input, traffic.output, traffic.shape)


def speed_model(settings: Settings | None = None) -> SpeedModel:
    """The packaged speed model, corrected by the user's own measurements where there are any."""
    from polyfleet.catalog.chips import find_chip
    from polyfleet.speed.model import load_speed_model
    from polyfleet.speed.table import read_user_rows

    file = (settings or Settings.from_environment()).measurements
    try:
        return load_speed_model(read_user_rows(file, find_model, find_chip) if file.exists() else ())
    except RowsError as error:
        raise error.at(str(file)) from None


def catalog_of(source: SpecSource, folder: Path) -> Catalog:
    """The packaged catalog with the spec's own offers laid over it. Raises InputError with the spec's line."""
    from polyfleet.catalog.store import load_catalog

    choice = source.spec.catalog
    try:
        return load_catalog([folder / name for name in choice.offers], include_unproven=choice.include_unproven)
    except InputError as error:
        raise error.at(source.file, source.line_of("catalog", "offers")) from None


def _demand(source: SpecSource, name: str, traffic: Traffic, folder: Path) -> Demand:
    line = source.line_of("workloads", name, "traffic")
    try:
        demand = demand_of(traffic, folder)
    except InputError as error:
        raise error.at(source.file, line) from None
    _refuse_too_many(source, (name, "traffic"), demand.mean_rate_per_s, "look at `rate` or `scale`, and `growth`")
    return demand


def _refuse_too_many(source: SpecSource, path: tuple[str, str], rate_per_s: float, hint: str) -> None:
    if rate_per_s > MOST_PER_S:
        raise SpecError(
            f"`workloads.{'.'.join(path)}`: too many requests a second", file=source.file,
            line=source.line_of("workloads", *path), value=f"{rate_per_s:,.0f}/s",
            hint=f"at most {MOST_PER_S:,.0f}/s can be planned; {hint}",
        )  # fmt: skip


def _model(source: SpecSource, name: str, folder: Path, catalog: Catalog) -> Model | None:
    from polyfleet.catalog.models import UNKNOWN, unknown_model

    wanted = source.spec.workloads[name].model
    try:
        return find_model(wanted, folder)
    except ModelError as error:
        if any(h.model == wanted for h in catalog.hosted):
            return None
        if error.problem == UNKNOWN:
            error = unknown_model(wanted, (h.model for h in catalog.hosted))
        raise error.at(source.file, source.line_of("workloads", name, "model")) from None
