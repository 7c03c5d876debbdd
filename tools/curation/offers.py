"""Rented offers: one row per purchasable thing out of the price lists, with what is dropped and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from math import log
from pathlib import Path
from statistics import median

from curation import regions
from curation.tables import Report, Row, decisions, number, read, write

COLUMNS = [
    "provider",
    "region",
    "instance_type",
    "chip",
    "chips",
    "domain_chips",
    "link_gb_s",
    "vcpus",
    "memory_gib",
    "purchase",
    "usd_per_hour",
    "interruptions_per_month",
    "source",
    "as_of",
    "quality",
    "note",
]
_PRICES = {
    "on_demand": "price_on_demand_usd_h",
    "spot": "price_spot_usd_h",
    "reserved_1y": "price_1y_usd_h",
    "reserved_3y": "price_3y_usd_h",
}
# Share of instances reclaimed in a month, by AWS's band: the band's middle; the open top band is taken as 25 %.
_BAND_SHARE = {"<5%": 0.025, "5-10%": 0.075, "10-15%": 0.125, "15-20%": 0.175, ">20%": 0.25}
_SPOT_AS_OF_AWS = "2026-01-22"
_SPOT_SOURCE_AWS = "skypilot-catalog v9/aws/vms.csv @2c3d7ea7 (~2026-01-22)"
_OUTLIER = 2.5


class Curator:
    """Curates the four raw tables of rented offers into one, counting what it drops."""

    def __init__(self, raw_folder: Path, chips: list[Row], names: dict[str, str]) -> None:
        self.raw = raw_folder / "catalog"
        self.chips = {c["name"]: c for c in chips}
        self.names = names
        self.regions = regions.table()
        self.drops = decisions("offer_drops")
        self.kept_outliers = decisions("offer_kept_outliers")
        self.links = decisions("interconnect")
        self.bands = {(r["region"], r["instance_type"]): r for r in read(self.raw / "aws_spot_advisor_gpu.csv")}
        self.hosts: dict[str, Row] = {}

    def listed(self) -> tuple[list[Row], Report]:
        """Rows of offers.csv, split by purchase."""
        raw_rows = read(self.raw / "offers.csv")
        report = Report("Rented offers", "catalog/offers.csv", raw_rows=len(raw_rows))
        known = {c["chip"] for c in read(self.raw / "chips.csv")}
        unjoined = sum(row["chip"] not in known for row in raw_rows)
        report.notes.append(
            f"{unjoined} raw rows bear a chip name that chips.csv lacks; all are joined by alias or dropped"
        )
        out: list[Row] = []
        for row in raw_rows:
            if reason := self._row_reason(row):
                report.drop(reason, row["_line"])
                continue
            if row["chip"] not in known:
                report.repair("chip name that chips.csv lacks, joined by alias")
            self.hosts.setdefault(row["instance_type"], row)
            for purchase in _PRICES:
                out += self._price(row, purchase, report)
        self._flag_outliers(out, report)
        return [self._finished(r, report) for r in out], report

    def _row_reason(self, row: Row) -> str:
        if row["chip"] == "Inferentia1":
            return "Inferentia1: no engine for today's models, no datasheet row"
        if row["chip"] not in self.names:
            raise ValueError(f"offers.csv line {row['_line']}: no chip for {row['chip']}")
        if float(row["chips_per_instance"]) % 1:
            return "a fraction of a GPU"
        if row["region"].startswith("us-gov"):
            return "government region: not open to everybody"
        if row["cloud"] == "aws" and (row["cloud"], row["region"]) not in self.regions:
            return "Local Zone or Wavelength Zone: small opt-in edge sites"
        return ""

    def _price(self, row: Row, purchase: str, report: Report) -> Iterator[Row]:
        price = row[_PRICES[purchase]]
        if not price:
            return
        where = f"{row['_line']} {purchase}"
        if reason := self._decided_drop(row, purchase):
            report.drop(reason, where)
            return
        on_demand = row[_PRICES["on_demand"]]
        if purchase == "spot" and on_demand and float(price) >= 0.95 * float(on_demand):
            report.drop("spot price equal to on-demand: no spot price", where)
            return
        chips = int(float(row["chips_per_instance"]))
        quality, as_of, note = _dated(row, purchase)
        instance = row["instance_type"]
        name = self.names[row["chip"]]
        if row["cloud"] == "crusoe":
            chips = 1 if "PCIe" in name or name == "L40S" else 8
            instance = f"{chips}x {name}"
            note = f"{note}; price per GPU x {chips} (boards of 8 are sold whole: recalled)" if chips > 1 else note
        yield {
            "provider": row["cloud"],
            "region": row["region"],
            "instance_type": instance,
            "chip": name,
            "chips": str(chips),
            "vcpus": number(float(row["vcpus"] or 0)),
            "memory_gib": number(float(row["memory_gib"] or 0)),
            "purchase": purchase,
            "usd_per_hour": number(float(price) * (chips if row["cloud"] == "crusoe" else 1)),
            "source": _SPOT_SOURCE_AWS if "zones" in note else row["source"],
            "as_of": as_of,
            "quality": quality,
            "note": note,
            "_line": row["_line"],
        }

    def _decided_drop(self, row: Row, purchase: str) -> str:
        keys = (*_keys(row["cloud"], row["region"], row["instance_type"]), ("chip", row["chip"]))
        for drop in self.drops:
            if drop["purchases"] != "all" and purchase not in drop["purchases"].split():
                continue
            if all(fnmatchcase(v, drop[k] or "*") for k, v in keys):
                return drop["reason"]
        return ""

    def _flag_outliers(self, rows: list[Row], report: Report) -> None:
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in rows:
            groups[row["provider"], row["instance_type"], row["purchase"]].append(row)
        for (provider, instance, purchase), group in sorted(groups.items()):
            middle = median(float(r["usd_per_hour"]) for r in group)
            for row in group:
                ratio = float(row["usd_per_hour"]) / middle
                if 1 / _OUTLIER <= ratio <= _OUTLIER:
                    continue
                why = [
                    k["reason"]
                    for k in self.kept_outliers
                    if k["purchase"] == purchase
                    and all(fnmatchcase(v, k[c]) for c, v in _keys(provider, row["region"], instance))
                ]
                where = f"line {row['_line']} {provider}:{row['region']}:{instance}:{purchase}"
                if not why:
                    raise ValueError(f"{where} is {ratio:.2f} x its median over regions: decide it")
                report.suspicious.append(f"{where}: {ratio:.2f} x its median over regions; kept: {why[0]}")

    def _finished(self, row: Row, report: Report) -> Row:
        chip, chips = self.chips[row["chip"]], int(row["chips"])
        domain = min(chips, int(chip["domain_chips"])) if int(chip["domain_chips"]) > 1 else chips
        link, note = chip["link_gb_s"], row["note"]
        if row["chip"].startswith("GB"):
            domain = int(chip["domain_chips"])
        for rule in self.links:
            if rule["provider"] == row["provider"] and fnmatchcase(row["instance_type"], rule["instance_type"]):
                if rule["chip"] and rule["chip"] != row["chip"]:
                    row["chip"] = rule["chip"]
                    report.repair(f"chip corrected to {rule['chip']}")
                domain = min(chips, int(rule["domain_chips"]) or chips)
                link = rule["link_gb_s"]
                note = "; ".join(n for n in (note, rule["note"]) if n)
        if restricted := self.regions[row["provider"], row["region"]]["note"]:
            note = "; ".join(n for n in (note, restricted) if n)
        band = self.bands.get((row["region"], row["instance_type"]))
        rate = ""
        if row["purchase"] == "spot" and row["provider"] == "aws" and band:
            rate = number(-log(1 - _BAND_SHARE[band["interruption_band"]]))
            note = "; ".join(n for n in (note, f"spot advisor {band['as_of']}: {band['interruption_band']}") if n)
        report.kept += 1
        report.source(row["source"], row["as_of"])
        return {
            **row,
            "domain_chips": str(domain),
            "link_gb_s": link,
            "interruptions_per_month": rate,
            "note": note,
        }

    def blocks(self) -> tuple[list[Row], Report]:
        """Rows of aws_capacity_blocks.csv."""
        raw_rows = read(self.raw / "aws_capacity_blocks.csv")
        report = Report("AWS capacity blocks", "catalog/aws_capacity_blocks.csv", raw_rows=len(raw_rows))
        out = []
        for row in raw_rows:
            host = self.hosts.get(row["instance_type"], {})
            if not host:
                report.suspicious.append(f"line {row['_line']} {row['instance_type']}: host size not published here")
            derived = "per accelerator" in row["notes"]
            out.append(
                {
                    "provider": "aws",
                    "region": row["region"],
                    "instance_type": row["instance_type"],
                    "chip": self.names[row["chip"]],
                    "chips": row["chips_per_instance"],
                    "vcpus": number(float(host.get("vcpus") or 0)),
                    "memory_gib": number(float(host.get("memory_gib") or 0)),
                    "purchase": "capacity_block",
                    "usd_per_hour": number(float(row["price_usd_h"])),
                    "source": row["source"],
                    "as_of": row["as_of"],
                    "quality": "approx" if derived else "exact",
                    "note": "hourly price of a block of 1 to 182 days, paid ahead"
                    + ("; per-accelerator price x chips (derived)" if derived else ""),
                    "_line": row["_line"],
                }
            )
        return [self._finished(r, report) for r in out], report

    def secondary(self) -> tuple[list[Row], Report]:
        """Rows of offers_secondary.csv: kept as `unproven`, out of every plan unless asked for."""
        raw_rows = read(self.raw / "offers_secondary.csv")
        report = Report("Unproven offers", "catalog/offers_secondary.csv", raw_rows=len(raw_rows))
        dropped = {d["line"]: d["reason"] for d in decisions("secondary_drops")}
        out = []
        for row in raw_rows:
            if row["_line"] in dropped:
                report.drop(dropped[row["_line"]], row["_line"])
                continue
            unit = row["unit"]
            out.append(
                {
                    "provider": row["cloud"],
                    "region": row["region"],
                    "instance_type": row["item"].removesuffix(" spot").replace(":", " "),
                    "chip": self.names[row["chip"]],
                    "chips": row["chips"],
                    "vcpus": "0",
                    "memory_gib": "0",
                    "purchase": "spot" if "spot" in unit or "preemptible" in unit else "on_demand",
                    "usd_per_hour": number(float(row["price_usd_h"])),
                    "source": row["source"],
                    "as_of": row["as_of"] if row["as_of"] != "undated" else "",
                    "quality": "unproven",
                    "note": row["confidence"],
                    "_line": row["_line"],
                }
            )
        return [self._finished(r, report) for r in out], report


def _keys(provider: str, region: str, instance: str) -> tuple[tuple[str, str], ...]:
    return ("provider", provider), ("region", region), ("instance_type", instance)


def _dated(row: Row, purchase: str) -> tuple[str, str, str]:
    """Quality, date and note of one price of a raw row."""
    quality, as_of, notes = row["as_of_quality"], row["as_of"], row["notes"]
    parts = []
    zones = re.search(r"spot=min over (\d+) AZ-ids .*?max ([\d.]+)", notes)
    if purchase == "spot" and row["cloud"] == "aws" and zones:
        parts.append(f"cheapest of {zones.group(1)} zones (dearest {zones.group(2)})")
        return "approx", _SPOT_AS_OF_AWS, "; ".join(parts)
    if purchase.startswith("reserved") and "date unstated" in notes:
        return "undated", "", "commitment price copied from Google's page, date not stated (2025)"
    if purchase == "reserved_1y" and "NoUpfront" in notes:
        parts.append("standard reserved instance, nothing up front")
    if purchase.startswith("reserved") and "resource CUD" in notes:
        parts.append("committed-use discount")
    if purchase == "on_demand" and (again := re.search(r"on-demand reconfirmed (\S+)", notes)):
        parts.append(f"reconfirmed {again.group(1)}")
    if row["region"] == "*":
        parts.append("one list price for all regions: says nothing about where there is capacity")
    if "date of the package" in quality:
        return "undated", "", "; ".join([*parts, f"in a package of {as_of}; date of the price not told"])
    if quality.startswith("unknown"):
        return "undated", "", "; ".join([*parts, quality.removeprefix("unknown, ")])
    if "chips;" in notes and row["chip"].startswith("TPU"):
        parts.append("one host; slices over several hosts are not in the table")
    return quality, as_of, "; ".join(parts)


def curate(raw_folder: Path, out: Path) -> list[Report]:
    chips = read(out / "chips.csv")
    names = {r["alias"]: r["name"] for r in read(out / "chip_aliases.csv")} | {c["name"]: c["name"] for c in chips}
    curator = Curator(raw_folder, chips, names)
    (listed, first), (blocks, second), (secondary, third) = curator.listed(), curator.blocks(), curator.secondary()
    rows = [*listed, *blocks, *secondary]
    ids = [":".join(r[k] for k in ("provider", "region", "instance_type", "purchase")) for r in rows]
    if doubled := {i for i in ids if ids.count(i) > 1}:
        raise ValueError(f"offers twice: {sorted(doubled)}")
    write(out / "offers.csv", COLUMNS, [r for _, r in sorted(zip(ids, rows, strict=True), key=lambda p: p[0])])
    return [first, second, third]
