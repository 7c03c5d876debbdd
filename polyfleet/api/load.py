"""A spec and everything it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyfleet.api.names import canonical
from polyfleet.errors import InputError, ModelError, SpecError
from polyfleet.files import read_text
from polyfleet.settings import Settings
from polyfleet.terms.demand import Demand
from polyfleet.terms.spec import Spec, Traffic
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
    the token and has no published architecture.
    """

    source: SpecSource
    demands: Mapping[str, Demand]
    models: Mapping[str, Model | None]
    catalog: Catalog
    speed: SpeedModel

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

    Raises InputError where anything it names is unknown or cannot be read, with the spec's line.
    """
    tell = progress or (lambda _text: None)
    source = spec if isinstance(spec, SpecSource) else load_spec(spec)
    folder = folder_of(source)
    tell("reading the catalog")
    catalog = _catalog(source, folder)
    source = canonical(source, catalog)
    models = {name: _model(source, name, folder, catalog) for name in source.spec.workloads}
    tell("reading the traffic")
    demands = {
        name: _demand(source, name, workload.traffic, folder)
        for name, workload in source.spec.workloads.items()
        if workload.traffic is not None
    }
    return Inputs(source, demands, models, catalog, speed_model())


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
    return load_speed_model(read_user_rows(file, find_model, find_chip) if file.exists() else ())


def _catalog(source: SpecSource, folder: Path) -> Catalog:
    from polyfleet.catalog.store import load_catalog

    choice = source.spec.catalog
    try:
        return load_catalog([folder / name for name in choice.offers], include_unproven=choice.include_unproven)
    except InputError as error:
        raise error.at(source.file, source.line_of("catalog", "offers")) from None


def _demand(source: SpecSource, name: str, traffic: Traffic, folder: Path) -> Demand:
    try:
        return demand_of(traffic, folder)
    except InputError as error:
        raise error.at(source.file, source.line_of("workloads", name, "traffic")) from None


def _model(source: SpecSource, name: str, folder: Path, catalog: Catalog) -> Model | None:
    wanted = source.spec.workloads[name].model
    try:
        return find_model(wanted, folder)
    except ModelError as error:
        if any(h.model == wanted for h in catalog.hosted):
            return None
        raise error.at(source.file, source.line_of("workloads", name, "model")) from None
