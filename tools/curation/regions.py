"""Regions: every provider region with its country, block of the world and law."""

from __future__ import annotations

from pathlib import Path

from curation.tables import Report, Row, decisions, write

COLUMNS = ("provider", "region", "continent", "country", "country_name", "jurisdiction", "note")


def table() -> dict[tuple[str, str], Row]:
    countries = {c["country"]: c for c in decisions("countries")}
    rows = {}
    for row in decisions("regions"):
        if row["region"] == "*":
            place = {"continent": row["continent"], "jurisdiction": row["continent"], "country_name": ""}
        else:
            place = {k: countries[row["country"]][k] for k in ("continent", "jurisdiction", "country_name")}
        rows[row["provider"], row["region"]] = {**row, **place}
    return rows


def curate(_: Path, out: Path) -> Report:
    rows = list(table().values())
    write(out / "regions.csv", COLUMNS, rows)
    write(out / "blocks.csv", ("block", "continents", "name"), decisions("blocks"))
    report = Report("Regions", "the providers' own region lists", kept=len(rows), raw_rows=len(rows))
    report.notes += [f"`{r['provider']}:{r['region']}` = {r['continent']}: {r['note']}" for r in rows if r["note"]]
    report.source("the clouds' public region lists (recalled)", "2026-11-24")
    return report
