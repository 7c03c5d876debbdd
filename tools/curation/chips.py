"""Chips: the raw datasheet table, with ranges and notes made one number each and missing chips added."""

from __future__ import annotations

import re
from pathlib import Path

from curation.tables import Report, Row, decisions, number, read, write

COLUMNS = [
    "name",
    "vendor",
    "family",
    "memory_gib",
    "bandwidth_gb_s",
    "bf16_tflops",
    "fp16_tflops",
    "fp8_tflops",
    "fp4_tflops",
    "int8_tops",
    "link_name",
    "link_gb_s",
    "domain_chips",
    "cores",
    "year",
    "engines",
    "source",
    "as_of",
    "verified",
    "note",
]
_RAW = {
    "memory_gib": "memory_gib_usable",
    "bandwidth_gb_s": "mem_bw_gbs",
    "bf16": "bf16_tflops",
    "fp16": "fp16_tflops",
    "fp8": "fp8_tflops",
    "fp4": "fp4_tflops",
    "int8": "int8_tops",
    "link_name": "scaleup_name",
    "link_gb_s": "scaleup_gbs_per_dir",
    "domain_chips": "scaleup_domain",
    "year": "year",
}
_TEXT = {"link_name"}
# The day the raw table was collected: stands for rows recalled from a datasheet whose own date is not told.
_COLLECTED = "2026-11-24"


def _plain(name: str, column: str, text: str) -> str:
    """A raw cell as one number. Leading figures before a note are taken only where the note is in brackets."""
    if not text or column in _TEXT:
        return text
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?: \(.*\))?(?: GiB)?", text)
    if not found:
        raise ValueError(f"{name}: {column} {text!r} is no single number: decide it in decisions/chips.csv")
    return number(float(found.group(1)))


def _row(decided: Row, raw: Row) -> Row:
    cells = {c: decided[c] or _plain(decided["name"], c, raw.get(r, "")) for c, r in _RAW.items()}
    source = decided["source"] or raw["source"]
    dated = re.search(r"@(\d{4}-\d{2}-\d{2})", source)
    vendor = raw.get("vendor") or {"H200-NVL": "nvidia", "RTX-PRO-6000": "nvidia"}.get(decided["name"], "amd")
    return {
        "name": decided["name"],
        "vendor": vendor,
        "family": decided["family"],
        "memory_gib": cells["memory_gib"],
        "bandwidth_gb_s": cells["bandwidth_gb_s"],
        "bf16_tflops": cells["bf16"],
        "fp16_tflops": cells["fp16"],
        "fp8_tflops": cells["fp8"],
        "fp4_tflops": cells["fp4"],
        "int8_tops": cells["int8"],
        "link_name": cells["link_name"],
        "link_gb_s": cells["link_gb_s"],
        "domain_chips": cells["domain_chips"],
        "cores": decided["cores"],
        "year": cells["year"],
        "engines": decided["engines"],
        "source": source,
        "as_of": decided["as_of"] or (dated.group(1) if dated else _COLLECTED),
        "verified": "yes" if not decided["source"] and raw["verified_here"].startswith("yes") else "no",
        "note": decided["note"],
    }


def curate(raw_folder: Path, out: Path) -> Report:
    raw_rows = read(raw_folder / "catalog" / "chips.csv")
    raw = {row["chip"]: row for row in raw_rows}
    rows = [_row(d, raw[d["raw_chip"]] if d["raw_chip"] else {}) for d in decisions("chips")]
    for row in rows:
        missing = [c for c in ("memory_gib", "bandwidth_gb_s", "link_gb_s", "domain_chips") if not row[c]]
        if missing or not (row["bf16_tflops"] or row["fp16_tflops"]):
            raise ValueError(f"{row['name']}: no figure for {missing or 'bf16'}")
    report = Report("Chips", "catalog/chips.csv", kept=len(rows), raw_rows=len(raw_rows))
    for row in decisions("chips_left_out"):
        report.drop(row["reason"], f"{row['raw_chip']} (line {raw.pop(row['raw_chip'])['_line']})")
    used = {d["raw_chip"] for d in decisions("chips")}
    if unused := sorted(set(raw) - used):
        raise ValueError(f"chips neither kept nor left out: {unused}")
    report.notes += [f"`{r['name']}`: {r['note']}" for r in rows if r["note"]]
    for row in rows:
        report.source(row["source"], row["as_of"])
    write(out / "chips.csv", COLUMNS, rows)
    write(out / "chip_aliases.csv", ("alias", "name"), decisions("chip_aliases"))
    return report
