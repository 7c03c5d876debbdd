"""Writes docs/models.md from the packaged configs: `python tools/model_table.py [OUTPUT]`."""

from __future__ import annotations

import sys
from pathlib import Path

from polyfleet.catalog.models import find_model, list_models, model_aliases, model_rows
from polyfleet.catalog.reading import Row, read_table
from polyfleet.terms.architecture import known_architectures
from polyfleet.terms.footprint import kv_bytes, kv_bytes_per_token, weight_bytes
from polyfleet.terms.model import Model
from polyfleet.terms.precision import Precision

OUTPUT = Path(__file__).parent.parent / "docs" / "models.md"
GIB = 2**30
SHOWN = (Precision.BF16, Precision.FP8, Precision.NVFP4, Precision.INT4)
LONG_CONTEXT_TOKENS = 32_768.0

INTRO = """# Models

This page is made by `python tools/model_table.py` from the packaged configs.

A workload may name any model below (case does not matter, and the publisher may be left out where only one has that
name), an alias (last table), or a folder or file with a Hugging Face `config.json` of a known architecture. Parameters
are counted from the widths in the config. Vision and audio towers and multi-token-prediction layers are not counted.

- **Total, active**: parameters in billions, embeddings included. Publishers count active parameters in three ways:
  with embeddings, without the lookup table, without lookup table and output head. The difference is taken against the
  publisher's own way.
- **Stored**: the format of the checkpoint. *experts* = only the routed experts are in that format.
- **Cache**: bytes a token takes in the KV cache in BF16 while it lies inside all windows, and what one sequence of
  32,768 tokens keeps (windows, pooling and fixed state applied).
- **Weights**: GiB as the checkpoint is stored, and when served at a precision. Below the checkpoint's own precision
  the engine quantises the linear layers (FP4 leaves the attention of MoE models alone); embeddings, norms and the
  output head stay in BF16. Above it, the stored parts are unpacked.
"""


def main(output: str | None = None) -> int:
    """Write the page; returns the exit code."""
    page = "\n".join([INTRO, *_models(), *_published(), *_architectures(), *_aliases()])
    Path(output or OUTPUT).write_text(page, encoding="utf-8")
    return 0


def _models() -> list[str]:
    precisions = " | ".join(f"{p.upper()} GiB" for p in SHOWN)
    head = [
        "model",
        "total B",
        "active B",
        "stored",
        "cache B/token",
        "MiB at 32k",
        "as stored GiB",
        precisions,
        "config as of",
    ]
    rows = [_model_row(find_model(name)) for name in list_models()]
    return ["## What polyfleet counts", "", *_table(head, rows, len(SHOWN) - 1), ""]


def _model_row(model: Model) -> list[str]:
    cache = kv_bytes(model, LONG_CONTEXT_TOKENS, Precision.BF16)
    return [
        model.name,
        _billions(model.total_params),
        _billions(model.active_params),
        _stored(model),
        f"{kv_bytes_per_token(model, Precision.BF16):,.0f}",
        f"{cache / 2**20:,.0f}",
        f"{weight_bytes(model, model.checkpoint.precision) / GIB:,.1f}",
        *(f"{weight_bytes(model, p) / GIB:,.1f}" for p in SHOWN),
        model_rows()[model.name]["as_of"],
    ]


def _stored(model: Model) -> str:
    checkpoint = model.checkpoint
    if checkpoint.precision is Precision.BF16:
        return "bf16"
    only_experts = checkpoint.experts_quantised and not checkpoint.dense_quantised
    rest = "" if checkpoint.rest_precision is Precision.BF16 else f" + {checkpoint.rest_precision}"
    return f"{checkpoint.precision}{' experts' if only_experts else ''}{rest}"


def _published() -> list[str]:
    head = ["model", "total B", "published", "difference", "active B", "published", "difference", "source"]
    rows = [_published_row(row) for row in read_table("models/published.csv")]
    return ["## Against published figures", "", *_table(head, rows, 0), ""]


def _published_row(row: Row) -> list[str]:
    model = find_model(row["name"])
    tables = {"": 0, "all": 0, "no_lookup": model.embedding_params}
    left_out = tables.get(row["active_counts"], model.embedding_params + model.head_params)
    active = model.active_params - left_out
    shown = [_billions(active), row["active"], _difference(active, row["active"])] if row["active"] else ["", "", ""]
    total = [_billions(model.total_params), row["total"], _difference(model.total_params, row["total"])]
    return [row["name"], *total, *shown, row["source"]]


def _difference(counted: int, stated: str) -> str:
    unit = {"B": 1e9, "T": 1e12}[stated[-1]]
    return f"{counted / (float(stated[:-1]) * unit) - 1:+.2%}"


def _architectures() -> list[str]:
    names = "\n".join(f"- `{name}`" for name in known_architectures())
    return ["## Known architectures", "", "A config of any other is refused by name.", "", names, ""]


def _aliases() -> list[str]:
    rows = [[a, row["model"], row["reason"]] for a, row in sorted(model_aliases().items())]
    return ["## Aliases", "", *_table(["alias", "counted as", "why"], rows, 0), ""]


def _table(head: list[str], rows: list[list[str]], extra_columns: int) -> list[str]:
    rule = "|" + "---|" * (len(head) + extra_columns)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _billions(count: int) -> str:
    return f"{count / 1e9:,.3g}" if count < 1e12 else f"{count / 1e9:,.0f}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
