"""Recipes: what runs on which chip, decided by hand from the engines' documents and the measured rows."""

from __future__ import annotations

from pathlib import Path

from curation.tables import Report, decisions, write

COLUMNS = [
    "family",
    "chips",
    "engine",
    "default",
    "precisions",
    "kv_precisions",
    "tensor_parallel",
    "max_chips",
    "head_rule",
    "mixers",
    "moe",
    "attention_dp",
    "memory_fraction",
    "reserve_gib",
    "source",
    "as_of",
    "note",
]


def curate(_: Path, out: Path) -> Report:
    rows = decisions("recipes")
    write(out / "recipes.csv", COLUMNS, rows)
    report = Report("Recipes", "engines.md and the engines' documents", kept=len(rows), raw_rows=len(rows))
    for row in rows:
        report.source(row["source"], row["as_of"])
    return report
