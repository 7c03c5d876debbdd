"""Values as YAML, the same bytes each time."""

from __future__ import annotations

from typing import Any

import yaml

WRITTEN_BY = "# Written by `polyfleet manifests`: change the plan, or lay a kustomize overlay over it.\n"


# libyaml's dumper writes the same text some ten times as fast. Aliases are left out: every object is read by itself.
_FASTEST = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Plain: Any = type("_Plain", (_FASTEST,), {"ignore_aliases": lambda _self, _data: True})


def _text(dumper: Any, text: str) -> Any:
    """Several lines stand as they are."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def yaml_text(*documents: dict[str, Any], above: str = "") -> str:
    """One file of one or several documents, keys in the order given. `above`: comment lines before them."""
    parts = [yaml.dump(d, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1000) for d in documents]
    return WRITTEN_BY + above + "---\n".join(parts)
