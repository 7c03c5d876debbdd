"""Hosted offers: token prices joined to models by a hand-made mapping; what cannot be mapped surely is dropped."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from statistics import median

from curation import regions
from curation.tables import Report, Row, decisions, number, read, write

COLUMNS = [
    "provider",
    "region",
    "model",
    "continent",
    "jurisdiction",
    "chip_vendor",
    "chip_vendor_evidence",
    "usd_per_million_input",
    "usd_per_million_output",
    "usd_per_million_cached_input",
    "usd_per_million_batch_input",
    "usd_per_million_batch_output",
    "max_input_tokens",
    "max_output_tokens",
    "tokens_per_minute",
    "requests_per_minute",
    "source",
    "as_of",
    "quality",
    "note",
]
# The day the raw table was collected: what ends on or before it is gone.
_COLLECTED = "2026-11-24"
# The table is of autumn 2026 and tells no day: its first day, so that no price is called younger than it is.
_AS_OF = "2026-09-01"
_PACKAGE = "litellm 1.106.10"
_MAKERS = "meta|qwen|openai|deepseek|mistral|moonshotai|moonshot|minimax|zai|google|nvidia|amazon|anthropic|xai"
_GEOGRAPHY = {
    "us": ("us", "us", "us"),
    "eu": ("eu", "eu", "eu"),
    "apac": ("ap", "ap", "ap"),
    "jp": ("jp", "ap", "jp"),
    "au": ("au", "ap", "au"),
    "in": ("in", "ap", "in"),
    "global": ("global", "global", "global"),
}
_CLOSED = {
    "openai": re.compile(
        r"gpt-[3-9](\.\d+|o)?(-(mini|nano|pro|turbo|codex|codex-mini|codex-max|luna|sol|terra|astra))?|o[134](-mini|-pro)?"
    ),
    "anthropic": re.compile(r"claude-(opus|sonnet|haiku|fable)-\d+(-\d)?"),
    "google": re.compile(r"gemini-\d+(\.\d+)?-(pro|flash|flash-lite|argon)(-preview)?"),
    "xai": re.compile(r"grok-\d+(\.\d+)?"),
}
_OUTLIER = 3.0
_SELLERS_OF_CLOSED = {"openai", "azure", "aws", "gcp", "anthropic", "xai", "oci"}
_SNAPSHOT = re.compile(r"\d{8}|\d{4}-\d{2}-\d{2}")
_SPEED_TIER = re.compile(r"-(fast|ultra|highspeed|lightning|us)$")


def key(raw_id: str) -> str:
    """A host's model id without the host's own ways of writing: what the mapping table is keyed by."""
    text = raw_id.rsplit("/", maxsplit=1)[-1].lower()
    text = re.sub(r"(?<=\d)p(?=\d)", ".", text)
    text = re.sub(rf"^({'|'.join(_GEOGRAPHY)})\.", "", text)
    text = re.sub(rf"^({_MAKERS})\.", "", text)
    text = re.sub(r"(-v\d+)?:\d+$", lambda m: m.group(0) if text.startswith("gpt-oss") else "", text)
    text = re.sub(r"-maas$", "", text)
    return re.sub(r"[@_ ]", "-", text)


def closed_model(name: str) -> str:
    """Canonical name of a closed model (`anthropic/claude-opus-5`), empty where the key is none."""
    text = re.sub(r"-(default|\d{8}|\d{4}-\d{2}-\d{2})$", "", name)
    text = re.sub(r"^(claude-.*)-v\d+$", r"\1", text)
    return next((f"{maker}/{text}" for maker, form in _CLOSED.items() if form.fullmatch(text)), "")


class Curator:
    """Curates hosted_prices.csv, counting what it drops."""

    def __init__(self, raw_folder: Path) -> None:
        self.rows = read(raw_folder / "catalog" / "hosted_prices.csv")
        self.hosts = {r["raw_provider"]: r for r in decisions("hosts")}
        self.left_out = {r["raw_provider"]: r["reason"] for r in decisions("hosts_left_out")}
        self.models = {r["key"]: r for r in decisions("hosted_models")}
        self.suspect = {(r["provider"], r["model"]): r["reason"] for r in decisions("hosted_drops")}
        self.regions = regions.table()
        self.report = Report("Hosted offers", "catalog/hosted_prices.csv", raw_rows=len(self.rows))

    def curated(self) -> list[Row]:
        kept: dict[tuple[str, str, str], Row] = {}
        for row in self.rows:
            if reason := self._reason(row):
                self.report.drop(reason, row["_line"])
                continue
            offer = self._offer(row)
            if not offer:
                self.report.drop("a government or unknown region", row["_line"])
                continue
            name = (offer["provider"], offer["region"], offer["model"])
            other = kept.get(name)
            if other and _rank(other) >= _rank(offer):
                self.report.drop("a second id of the same model at the same host and region", row["_line"])
                continue
            if other:
                self.report.drop("a second id of the same model at the same host and region", other["_line"])
            kept[name] = offer
        self._flag_outliers(list(kept.values()))
        for offer in kept.values():
            self.report.kept += 1
            self.report.source(offer["source"], offer["as_of"])
        return [kept[name] for name in sorted(kept)]

    def _flag_outliers(self, offers: list[Row]) -> None:
        groups: dict[str, list[Row]] = defaultdict(list)
        for offer in offers:
            groups[offer["model"]].append(offer)
        for model, group in sorted(groups.items()):
            middle = median(float(o["usd_per_million_output"]) for o in group)
            for offer in group:
                ratio = float(offer["usd_per_million_output"]) / middle
                if not 1 / _OUTLIER <= ratio <= _OUTLIER:
                    where = f"line {offer['_line']} {offer['provider']}:{offer['region']}:{model}"
                    told = f"{where}: output {ratio:.2f} x the median of its hosts; kept as listed"
                    self.report.suspicious.append(told)

    def _model(self, row: Row) -> tuple[str, str]:
        """Canonical model and a note on how it is served; empty where the id maps to none."""
        name = key(row["id"])
        if name in self.models:
            return self.models[name]["model"], self.models[name]["note"]
        if name in {"r1", "v3.1", "v3.2"} and "deepseek" not in row["id"]:
            return "", ""
        return closed_model(name), ""

    def _reason(self, row: Row) -> str:
        """Why a row is dropped; empty where it is kept. The first reason that holds is the one told."""
        provider = row["provider"]
        if provider not in self.hosts:
            return self.left_out.get(provider, "a host too small or too old to check")
        return self._row_reason(row) or self._model_reason(row)

    def _row_reason(self, row: Row) -> str:
        if row["mode"] not in ("chat", "responses"):
            return "not a chat model"
        if row["deprecation_date"] and row["deprecation_date"] <= _COLLECTED:
            return f"ended on or before {_COLLECTED}"
        if not float(row["usd_per_million_input"] or 0) or not float(row["usd_per_million_output"] or 0):
            return "no price, or a price of zero"
        return ""

    def _model_reason(self, row: Row) -> str:
        model, _ = self._model(row)
        if not model:
            tier = _SPEED_TIER.sub("", key(row["id"]))
            if tier in self.models or closed_model(tier):
                return "a dearer speed or place tier of a model that is kept"
            return "no sure mapping to a model (base models, fine-tunes, guards, audio, aliases that move)"
        host = self.hosts[row["provider"]]["provider"]
        if _is_closed(model) and host not in _SELLERS_OF_CLOSED:
            return "a closed model resold by a third party"
        return self.suspect.get((host, model), "")

    def _place(self, row: Row, host: Row) -> tuple[str, str, str] | None:
        """Region, continent, jurisdiction; None where the region is a government's or unknown."""
        parts, last = row["id"].split("/"), row["id"].split("/")[-1]
        if "us-gov" in row["id"]:
            return None
        geography = last.split(".")[0]
        if host["provider"] == "aws" and geography in _GEOGRAPHY:
            return _GEOGRAPHY[geography]
        if len(parts) > 2 and row["provider"].startswith("bedrock"):
            place = self.regions.get(("aws", parts[1]))
            return (parts[1], place["continent"], place["jurisdiction"]) if place else None
        if len(parts) > 2 and row["provider"] == "azure":
            return _GEOGRAPHY.get(parts[1].removesuffix("-standard"))
        home = host["continent"]
        return (home if home == "global" or host["provider"] == "aws" else "*", home, host["jurisdiction"])

    def _offer(self, row: Row) -> Row | None:
        host = self.hosts[row["provider"]]
        place = self._place(row, host)
        if not place:
            return None
        model, served = self._model(row)
        ends = f"ends {row['deprecation_date']}" if row["deprecation_date"] else ""
        prices = {c: number(float(row[c])) if row[c] else "" for c in row if c.startswith("usd_per_million")}
        return {
            "provider": host["provider"],
            "region": place[0],
            "model": model,
            "continent": place[1],
            "jurisdiction": place[2],
            "chip_vendor": host["chip_vendor"],
            "chip_vendor_evidence": host["chip_vendor_evidence"],
            **prices,
            "max_input_tokens": _whole(row["max_input_tokens"]),
            "max_output_tokens": _whole(row["max_output_tokens"]),
            "tokens_per_minute": _whole(row["tpm"]),
            "requests_per_minute": _whole(row["rpm"]),
            "source": f"{row['source'] or 'no source given'} (through {_PACKAGE})",
            "as_of": _AS_OF,
            "quality": "approx" if row["source"] else "unproven",
            "note": "; ".join(n for n in (f"id {row['id']}", served, ends) if n),
            "_line": row["_line"],
        }


def _is_closed(model: str) -> bool:
    return model.split("/", maxsplit=1)[0] in _CLOSED and "gpt-oss" not in model and "gemma" not in model


def _whole(text: str) -> str:
    return str(int(float(text))) if text else ""


def _rank(offer: Row) -> tuple[bool, bool, list[str], float, float]:
    """Proven before unproven, plain before quantised, the undated id before the newest
    snapshot's, then the dearer: never promise a price that may not hold."""
    return (
        offer["quality"] != "unproven",
        "quantised" not in offer["note"],
        _SNAPSHOT.findall(offer["note"].split(";")[0])[-1:] or ["undated"],
        float(offer["usd_per_million_input"]) + float(offer["usd_per_million_output"]),
        -len(offer["note"]),
    )


def curate(raw_folder: Path, out: Path) -> Report:
    curator = Curator(raw_folder)
    write(out / "hosted.csv", COLUMNS, curator.curated())
    write(out / "sold_as.csv", ("name", "sold_as"), decisions("sold_as"))
    hosts = {(h["provider"], h["chip_vendor"], h["chip_vendor_evidence"]): h for h in decisions("hosts")}
    columns = ("provider", "continent", "jurisdiction", "chip_vendor", "chip_vendor_evidence", "note")
    write(out / "hosts.csv", columns, [hosts[k] for k in sorted(hosts)])
    return curator.report
