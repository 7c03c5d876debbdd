"""Models by name: a packaged config.json, an alias of one, or the user's own folder or file.

Nothing is read until a model is asked for, and each config is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from polyfleet.catalog.config_file import looks_like_path, read_config
from polyfleet.catalog.reading import TABLES, Row, did_you_mean, read_table
from polyfleet.errors import CatalogError, ModelError
from polyfleet.terms.architecture import model_from_config
from polyfleet.terms.model import Model


def list_models() -> tuple[str, ...]:
    """Names of the packaged models, sorted. Aliases are in `model_aliases`."""
    return tuple(sorted(model_rows()))


@cache
def model_rows() -> Mapping[str, Row]:
    """The index by name: `file`, `as_of` (the date the config is known to hold) and `source`."""
    return MappingProxyType({row["name"]: row for row in read_table("models/index.csv")})


@cache
def model_aliases() -> Mapping[str, Row]:
    """By alias: the `model` whose architecture it has, the `reason` and its `source`."""
    return MappingProxyType({row["alias"]: row for row in read_table("models/aliases.csv")})


def find_model(name_or_path: str) -> Model:
    """The model of a name (`org/model`, case ignored; the part after the slash where only one model has it), of an
    alias, or of a folder or file with a config.json.

    Raises ModelError with the closest names where nothing matches, and for a config that cannot be read.
    """
    wanted = name_or_path.strip() if isinstance(name_or_path, str) else ""
    if not wanted:
        raise ModelError("a model name is empty", value=name_or_path, hint="write org/model or a path to a config.json")
    known = known_names().get(wanted.casefold())
    if known is not None:
        return _packaged(known)
    if looks_like_path(wanted):
        return _own(Path(wanted).expanduser())
    raise unknown_model(wanted)


@cache
def known_names() -> Mapping[str, str]:
    """Model name or alias by any spelling that finds it, in lower case."""
    names = [*model_rows(), *model_aliases()]
    short: dict[str, set[str]] = {}
    for name in names:
        short.setdefault(name.rsplit("/", 1)[-1].casefold(), set()).add(name)
    found = {key: next(iter(owners)) for key, owners in short.items() if len(owners) == 1}
    return MappingProxyType(found | {name.casefold(): name for name in names})


UNKNOWN = "unknown model"


def unknown_model(wanted: str, sold: Iterable[str] = ()) -> ModelError:
    """The error for a name that nothing has, with the closest names, those of models `sold` by the token among them."""
    near = did_you_mean(wanted, [*model_rows(), *model_aliases(), *sold])
    return ModelError(UNKNOWN, value=wanted, hint=f"{near} (a folder or file with a config.json works too)")


@cache
def _packaged(name: str) -> Model:
    alias = model_aliases().get(name)
    if alias is not None:
        model = _packaged(alias["model"])
        note = f"architecture of {alias['model']}: {alias['reason']}"
        return replace(model, name=name, notes=(*model.notes, note))
    row = model_rows()[name]
    path = TABLES / "models" / "configs" / row["file"]
    if not path.is_file():
        raise CatalogError(
            "a packaged config is missing", file=f"catalog/tables/models/configs/{row['file']}", hint="reinstall"
        )
    return model_from_config(read_config(path), name=name, source=f"{row['source']} ({row['as_of']})")


def _own(path: Path) -> Model:
    file = path / "config.json" if path.is_dir() else path
    name = file.resolve().parent.name if file.name == "config.json" else file.stem
    try:
        return model_from_config(read_config(file), name=name or str(path), source=str(file))
    except ModelError as error:
        raise error.at(file=str(file)) from None
