"""A spec's text (YAML or JSON) to a `Spec`, with the line of every mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from polyfleet.errors import SpecError
from polyfleet.terms.spec import Spec

_MOST_BYTES = 1_000_000
_MOST_NODES = 20_000
_DEEPEST = 24
_Path = tuple[str | int, ...]


@dataclass(frozen=True)
class SpecSource:
    """A spec and where each part of it stands, so that later checks (a model nobody knows) can name the line."""

    spec: Spec
    file: str | None
    lines: Mapping[_Path, int]

    def line_of(self, *path: str | int) -> int:
        """The line of a part, or of the nearest part around it."""
        return _line(path, self.lines)


def parse_source(text: str, *, file: str | None = None) -> SpecSource:
    """The spec that a text states, with its lines.

    Raises SpecError with file, line, value and what would be right.
    """
    data, lines = _read_yaml(text, file)
    try:
        return SpecSource(Spec.model_validate(data), file, lines)
    except ValidationError as error:
        raise _first_mistake(error, lines, file) from None


def parse_spec(text: str, *, file: str | None = None) -> Spec:
    """The spec that a text states; raises as `parse_source`."""
    return parse_source(text, file=file).spec


def _read_yaml(text: str, file: str | None) -> tuple[Any, dict[_Path, int]]:
    if len(text) > _MOST_BYTES:
        raise SpecError(f"the spec is larger than {_MOST_BYTES:,} characters", file=file)
    try:
        node = yaml.compose(text, Loader=_Bounded)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise SpecError(f"not readable as YAML: {error.problem}", file=file, line=line) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"not readable as YAML: {str(error).splitlines()[0]}", file=file) from None
    if node is None:
        raise SpecError("the spec is empty", file=file, hint="`polyfleet init` writes a commented one to start from")
    walker = _Walker(file)
    data = walker.value(node, ())
    if not isinstance(data, dict):
        raise SpecError("a spec is a mapping with `workloads` and `policy`", file=file, line=1, value=data)
    return data, walker.lines


class _Bounded(yaml.SafeLoader):
    """Stops where a text nests deeper or holds more values than any spec: reading on takes seconds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._composed = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._composed += 1
        if self._depth > _DEEPEST + 1 or self._composed > 2 * _MOST_NODES:
            problem = f"nested more than {_DEEPEST} deep" if self._depth > _DEEPEST + 1 else "too many values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Walker:
    """Nodes to plain values: every scalar stays text, so that `4e9`, `no` and `1:30` mean what they say.

    Counts what it visits, through aliases too, so that a small file cannot unfold into a huge value.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.lines: dict[_Path, int] = {}
        self._visited = 0

    def value(self, node: yaml.Node, path: _Path) -> Any:
        self._visited += 1
        line = node.start_mark.line + 1
        if self._visited > _MOST_NODES or len(path) > _DEEPEST:
            raise SpecError("the spec unfolds into too many values", file=self.file, line=line)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, i)) for i, child in enumerate(node.value)]
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)

    def _items(self, node: yaml.MappingNode, path: _Path) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError("a key must be a plain word", file=self.file, line=line)
            key = str(key_node.value)
            if key in seen:
                raise SpecError(f"the key {key!r} stands twice", file=self.file, line=line, hint="remove one of them")
            seen.add(key)
            self.lines[*path, key] = line
            yield key, self.value(child, (*path, key))


def _first_mistake(error: ValidationError, lines: Mapping[_Path, int], file: str | None) -> SpecError:
    """The mistake that stands first in the file; the others follow once it is mended."""
    mistakes = [(_line(_place(e), lines), e) for e in error.errors(include_url=False)]
    line, first = min(mistakes, key=lambda m: m[0])
    where = ".".join(str(p) for p in _place(first)) or "spec"
    others = f" ({len(mistakes) - 1} more after it)" if len(mistakes) > 1 else ""
    if first["type"] == "extra_forbidden":
        return SpecError(f"unknown key `{where}`{others}", file=file, line=line, hint=_did_you_mean(first["loc"]))
    if first["type"] == "missing":
        return SpecError(f"`{where}` is missing{others}", file=file, line=line, hint=_missing_hint(first["loc"]))
    value = first["input"] if isinstance(first["input"], str | int | float) else None
    return SpecError(f"`{where}`: {_words(first)}{others}", file=file, line=line, value=value, hint=_near(first))


def _place(mistake: ErrorDetails) -> Sequence[str | int]:
    """Where a mistake stands; a check across parts says it itself, as `at`."""
    at: Sequence[str | int] = mistake.get("ctx", {}).get("at", mistake["loc"])
    return at


def _line(loc: Sequence[str | int], lines: Mapping[_Path, int]) -> int:
    path = tuple(loc)
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _words(mistake: ErrorDetails) -> str:
    """Pydantic's words without its prefixes, or plainer ones."""
    plain = _PLAIN.get(mistake["type"])
    if plain:
        return plain.format(**mistake.get("ctx", {}))
    return mistake["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


_PLAIN = {
    "model_type": "this is a mapping of keys to values",
    "dict_type": "this is a mapping of keys to values",
    "tuple_type": "this is a list",
    "string_type": "this is a text",
    "too_short": "this must not be empty",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "int_parsing": "must be a whole number",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le:,.0f}",
}


def _near(mistake: ErrorDetails) -> str | None:
    """The choice that was meant, where a choice was misspelt."""
    known = re.findall(r"'([^']+)'", str(mistake.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(str(mistake["input"]).casefold(), known, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else None


def _missing_hint(loc: Sequence[str | int]) -> str | None:
    return "a spec needs at least one workload" if tuple(loc) == ("workloads",) else None


def _did_you_mean(loc: Sequence[str | int]) -> str:
    known = _keys_at(Spec, loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys a part of the spec may have, found by walking the field types."""
    part: type[BaseModel] = model
    for step in loc:
        field = part.model_fields.get(str(step))
        if field is None:
            continue  # a name chosen by the user: a workload
        part = next((t for t in _types_in(field.annotation) if issubclass(t, BaseModel)), part)
    return sorted(part.model_fields)


def _types_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _types_in(inner)
