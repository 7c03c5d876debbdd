"""docs/data.md: what the catalog holds, what was dropped and why, what looks odd, sources and dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curation.tables import Report

_SHOWN = 400

_HEAD = """# What is in the catalog

Made by `python tools/curate_catalog.py RAW_FOLDER`; do not edit. Every row of the tables in `polyfleet/catalog/tables/`
keeps its source and its date. A wrong row is worse than a missing one: where a row looked wrong it was left out, and
it stands here with its line in the raw file.

How sure a price is (`quality`):

| quality | meaning |
|---|---|
| `exact` | in a dated price list |
| `approx` | derived, or the cheapest of several zones, or dated to a season only |
| `undated` | a price list without a date (`as_of` is empty) |
| `unproven` | second-hand or without a source: left out of plans unless asked for |
| `user` | from your own file |

What else to know:

- A listed price is no promise of capacity. Region `*` is one list price for all regions of a provider: such an offer
  counts as lying in every block of the world where the provider works.
- GCP prices include the machine, not the accelerator alone (checked: `g2-standard-12` costs more than `g2-standard-4`
  with the same one L4). TPU prices are per host with all its chips.
- `vcpus` and `memory_gib` are 0 where the source does not tell.
- Spot interruptions are known for AWS only, as bands of the share of instances reclaimed in a month (2025-06). The
  rate is -ln(1 - the band's middle); the open band `>20%` is taken as 25 %.
- AWS spot prices are the cheapest of a region's zones; the note names the dearest.
- Token prices come from one package of autumn 2026 whose day is not told: they are dated 2026-09-01, the first day of
  that autumn, so that no price is called younger than it is. Where a model has several ids at one host and region, the
  sourced, unquantised, newest and then the dearer one is kept.
- A host's chips are `assumed` to be NVIDIA's unless the host says otherwise.

## Your own prices

A CSV of your own, laid over the catalog: your price wins over the list price of the same offer, and an offer that the
catalog lacks is added. Name an offer by `id` (`provider:region:instance_type:purchase`) or by the four columns
`provider`, `region`, `instance_type` and `purchase`.

| column | needed | meaning |
|---|---|---|
| `id`, or the four columns | yes | which offer |
| `purchase` | one of the four | on_demand, spot, reserved_1y, reserved_3y, capacity_block, per_token |
| `usd_per_hour` | if rented | price of the whole instance |
| `usd_per_million_input`, `usd_per_million_output` | if per_token | price of the tokens; `instance_type` is the model |
| `chip`, `chips` | for a new offer | any name that `polyfleet catalog chips` knows; whole chips in one instance |
| `continent`, `jurisdiction` | for an unknown region | us, ca, mx, sa, eu, uk, ch, me, af, ap, cn |
| `quota_instances` | no | how many you may rent at most |
| `interruptions_per_month` | no | of one spot instance |
| `usd_per_million_cached_input`, `usd_per_million_batch_input`, `..._batch_output` | no | per_token |
| `tokens_per_minute`, `requests_per_minute`, `chip_vendor` | no | per_token: your limits, the host's chips |
| `domain_chips`, `link_gb_s`, `vcpus`, `memory_gib` | no | interconnect (per direction) and host |
| `source`, `as_of`, `note` | no | where the price comes from, its date, anything else |

```csv
id,usd_per_hour,quota_instances,note
aws:us-east-1:p5.48xlarge:on_demand,38.50,12,our agreement of 2026-09
```
"""


_RECIPES = """# What runs on which chip

Made by `python tools/curate_catalog.py RAW_FOLDER` from the table that the plan reads; do not edit.

A build is allowed where all of this holds:

- The engine has kernels on the chip for the weights' format, the KV cache's format and the model's kind of attention
  (grouped heads `gqa`, latent `mla`, fixed state `linear`), and for mixtures of experts if the model is one.
- The number of chips is one that the engine takes. Attention heads divide over the *devices* that the vendor counts
  (two a chip on Inferentia2, Trainium1 and TPU v7, four on Trainium2 and 3); KV heads divide or repeat evenly.
  Neuron pads heads up to the next power of two instead.
- Experts in FP8 are scaled in blocks of 128: where tensor parallel would cut a block, whole experts are spread instead.
- Weights and the KV cache of four sequences of 4,096 tokens fit into memory x `fraction` - `reserve`.
- Mixtures of experts also come with attention split by sequence (attention-DP) where the engine can.

A format that a chip has no units for can still be allowed as *weight-only*: bytes shrink, the multiply stays in bf16.
Only the engine in bold is used unless others are named. A chip without a recipe is never planned for.

| family | chips | engine | weights | KV | chips a replica | attention | MoE | attention-DP | fraction | reserve GiB |
|---|---|---|---|---|---|---|---|---|---:|---:|
"""


def recipes_page(rows: Sequence[Mapping[str, str]]) -> str:
    """The whole page of recipes, in Markdown."""
    table, notes = [], []
    for row in rows:
        engine = f"**{row['engine']}**" if row["default"] == "yes" else row["engine"]
        chips = "all" if row["chips"] == "*" else row["chips"]
        shared = [row[name] for name in ("precisions", "kv_precisions", "tensor_parallel", "mixers")]
        told = [*shared, row["moe"], row["attention_dp"], row["memory_fraction"], row["reserve_gib"]]
        table.append(f"| {' | '.join([row['family'], chips, engine, *told])} |")
        note = f"{row['note']}. " if row["note"] else ""
        notes.append(f"- {row['family']} ({chips}), {row['engine']}: {note}Source: {row['source']}, {row['as_of']}.")
    return _RECIPES + "\n".join([*table, "", *notes]) + "\n"


def page(reports: Sequence[Report]) -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, _summary(reports), *map(_section, reports)])


def _summary(reports: Sequence[Report]) -> str:
    lines = ["| table | raw file | raw rows | rows kept | dropped |", "|---|---|---:|---:|---:|"]
    for report in reports:
        dropped = sum(len(lines_) for lines_ in report.dropped.values())
        lines.append(f"| {report.title} | `{report.raw}` | {report.raw_rows} | {report.kept} | {dropped} |")
    lines.append("")
    lines.append(
        "One raw row of rented offers holds up to four prices: each kept price is one row, and one may be dropped."
    )
    return "\n".join(lines) + "\n"


def _section(report: Report) -> str:
    lines = [f"## {report.title}", ""]
    if report.dropped:
        lines += ["| dropped because | count | lines of the raw file |", "|---|---:|---|"]
        for reason, where in sorted(report.dropped.items(), key=lambda item: (-len(item[1]), item[0])):
            lines.append(f"| {reason} | {len(where)} | {ranges(where)} |")
        lines.append("")
    for what, count in sorted(report.repaired.items()):
        lines.append(f"- Repaired: {what} ({count} rows)")
    for title, told in (("Odd, and kept", report.suspicious), ("Notes", report.notes)):
        if told:
            lines += ["", f"**{title}**", "", *(f"- {line}" for line in told)]
    lines += ["", "**Sources**", "", "| source | as of | rows |", "|---|---|---:|"]
    for source, count in sorted(report.sources.items(), key=lambda item: (-item[1], item[0]))[:40]:
        name, _, date = source.rpartition(" · ")
        lines.append(f"| {name} | {date} | {count} |")
    if len(report.sources) > 40:
        rest = sorted(report.sources.values())[:-40]
        lines.append(f"| {len(rest)} more, in the table itself | | {sum(rest)} |")
    return "\n".join(lines) + "\n"


def ranges(where: Sequence[str]) -> str:
    """Line numbers as ranges where all are plain numbers or share a price; else the list, cut when long."""
    groups: dict[str, list[int]] = {}
    for item in where:
        line, _, price = item.partition(" ")
        if not line.isdigit():
            return _cut(", ".join(where))
        groups.setdefault(price, []).append(int(line))
    told = []
    for price, lines in sorted(groups.items()):
        told.append(f"{price + ': ' if price else ''}{', '.join(_runs(sorted(lines)))}")
    return _cut("; ".join(told))


def _runs(lines: Sequence[int]) -> list[str]:
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: text.rfind(",", 0, _SHOWN)] + ", ..."
