"""Tables of misses and constants as Markdown, and their places in docs/speed.md."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from speed_misses import Miss

from polyfleet.speed.fit import Fit
from polyfleet.speed.predict import METRICS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "speed.md"


def percent(ln: float) -> float:
    return (math.exp(ln) - 1) * 100


def summary(found: Sequence[Miss]) -> dict[str, tuple[int, float, float, float]]:
    """By metric: rows, median error, mean over chip x model cells of each cell's median, bias; in per cent."""
    result = {}
    for metric in METRICS:
        of_metric = [m for m in found if m.metric == metric]
        if not of_metric:
            continue
        cells: dict[tuple[str, str], list[float]] = defaultdict(list)
        for m in of_metric:
            cells[m.sample.chip, m.sample.model].append(abs(m.ln))
        macro = statistics.mean(statistics.median(v) for v in cells.values())
        lns = [m.ln for m in of_metric]
        result[metric] = (
            len(of_metric), percent(statistics.median(map(abs, lns))), percent(macro), percent(-statistics.median(lns)),
        )  # fmt: skip
    return result


def markdown(title: str, groups: Mapping[str, Sequence[Miss]]) -> str:
    """A table: one line per group, n / median / bias per metric."""
    lines = [f"| {title} | throughput: rows, median, bias | TTFT | TPOT |", "|---|---|---|---|"]
    for name, found in groups.items():
        s = summary(found)
        cells = [f"{s[m][0]}, {s[m][1]:.0f} %, {s[m][3]:+.0f} %" if m in s else "" for m in METRICS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def overview(tables: Mapping[str, Sequence[Miss]]) -> str:
    lines = ["| rows predicted | throughput: median, macro | TTFT | TPOT |", "|---|---|---|---|"]
    for name, found in tables.items():
        s = summary(found)
        lines.append(f"| {name} | " + " | ".join(f"{s[m][1]:.1f} %, {s[m][2]:.0f} %" for m in METRICS) + " |")
    return "\n".join(lines)


def write_docs(sections: Mapping[str, str]) -> None:
    """Put each section between its markers in docs/speed.md."""
    text = DOCS.read_text(encoding="utf-8")
    for name, body in sections.items():
        begin, end = f"<!-- made by tools/fit_speed.py: {name} -->", f"<!-- end: {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{DOCS}: no markers for {name}")
        head, rest = text.split(begin, 1)
        text = head + begin + "\n" + body + "\n" + end + rest.split(end, 1)[1]
    DOCS.write_text(text, encoding="utf-8")


def constants_table(fitted: Fit) -> str:
    shared = [c for c in fitted.constants if c.scope == "all" or c.scope.startswith("crowd")]
    lines = ["| constant | scope | value | rows |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.scope} | {c.value:.3g} | {c.rows} |" for c in shared]
    return "\n".join(lines)
