"""The figures of a plan's page, as Plotly data: each function returns (data, layout, height in pixels)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from polyfleet.page.document import PALETTE, axis
from polyfleet.terms.plan import CapacityRow, Plan, PlanBucket
from polyfleet.terms.show import line_name, who_serves

Figure = tuple[list[dict[str, Any]], dict[str, Any], int]
_FEW_WINDOWS = 3
_MOST_LOSSES = 8  # curves beyond that hide each other; those with least room are shown


def cost_figure(plan: Plan) -> Figure:
    """A bar per line, coloured by provider."""
    colours = _colours(line.provider for line in plan.lines)
    lines = sorted(plan.lines, key=lambda line: line.usd_per_month)
    bars = [
        {
            "type": "bar", "orientation": "h", "name": provider, "marker": {"color": colour},
            "y": [_label(plan, line.id) for line in lines if line.provider == provider],
            "x": [line.usd_per_month for line in lines if line.provider == provider],
            "hovertemplate": "%{y}<br>%{x:$,.0f} a month<extra></extra>",
        }
        for provider, colour in colours.items()
    ]  # fmt: skip
    order = [_label(plan, line.id) for line in lines]
    layout = {
        "xaxis": axis("USD a month", rangemode="tozero"), "barmode": "stack",
        "yaxis": {"automargin": True, "categoryorder": "array", "categoryarray": order},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}, "margin": {"l": 20, "r": 16, "t": 40, "b": 48},
    }  # fmt: skip
    return bars, layout, 120 + 34 * len(lines)


def bucket_figure(plan: Plan, workload: str) -> Figure:
    """A bar per size bucket, split by who serves it; the label tells the bucket's share of requests."""
    buckets = next(w for w in plan.workloads if w.name == workload).buckets
    served = _served(plan, workload, len(buckets))
    totals = [sum(by_bucket[b] for by_bucket in served.values()) for b in range(len(buckets))]
    order = sorted(range(len(totals)), key=lambda b: buckets[b].input_tokens + buckets[b].output_tokens)
    labels = [f"{_size(buckets[b])}<br>{totals[b] / sum(totals):.0%}" for b in order]
    bars = [
        {
            "type": "bar", "name": who, "x": labels, "marker": {"color": PALETTE[i % len(PALETTE)]},
            "y": [100 * by_bucket[b] / totals[b] if totals[b] else 0.0 for b in order],
            "hovertemplate": "%{y:.0f} % of %{x}<extra>" + who + "</extra>",
        }
        for i, (who, by_bucket) in enumerate(sorted(served.items(), key=lambda item: -sum(item[1])))
    ]  # fmt: skip
    layout = {
        "barmode": "stack", "xaxis": {**axis("input > output tokens, share of requests"), "type": "category"},
        "yaxis": axis("% of the bucket", range=[0, 100]), **_LEGEND_ABOVE,
    }  # fmt: skip
    return bars, layout, 360


def _served(plan: Plan, workload: str, buckets: int) -> dict[str, list[float]]:
    """Requests by bucket over the month, in units of requests/s x hours, by who serves them."""
    hours = [w.hours_per_month for w in plan.windows]
    served: dict[str, list[float]] = defaultdict(lambda: [0.0] * buckets)
    for route in plan.routes:
        if route.workload == workload:
            served[_who(plan, route.line)][route.bucket] += route.requests_per_s * hours[route.window]
    return served


def capacity_figure(plan: Plan, workload: str) -> Figure:
    """Over the windows where they tell a day, else over the scenarios, each in the window with least room."""
    rows = [row for row in plan.capacity if row.workload == workload]
    if len(plan.windows) > _FEW_WINDOWS:
        return _over_windows(plan, rows)
    tightest: dict[str, CapacityRow] = {}
    for row in rows:
        if row.scenario not in tightest or _room(row) < _room(tightest[row.scenario]):
            tightest[row.scenario] = row
    return _over_scenarios(list(tightest.values()))


def speed_figure(plan: Plan) -> Figure:
    """A range per line: P10 to P90 capacity in per cent of what was planned on."""
    lines = [line for line in plan.lines if line.kind == "own"]
    labels = [f"{_label(plan, line.id)} ({line.speed_evidence})" for line in lines]
    ranges = {
        "type": "bar", "orientation": "h", "y": labels, "base": [100 * line.speed_p10 for line in lines],
        "x": [100 * (line.speed_p90 - line.speed_p10) for line in lines], "marker": {"color": "rgba(37,99,235,0.45)"},
        "customdata": [f"P10 {100 * line.speed_p10:.0f} %, P90 {100 * line.speed_p90:.0f} %" for line in lines],
        "hovertemplate": "%{y}<br>%{customdata}<extra></extra>", "showlegend": False,
    }  # fmt: skip
    layout = {
        "xaxis": axis("capacity, % of planned", rangemode="tozero"), "yaxis": {"automargin": True},
        "margin": {"l": 20, "r": 16, "t": 16, "b": 48},
        "shapes": [{"type": "line", "x0": 100, "x1": 100, "yref": "paper", "y0": 0, "y1": 1,
                    "line": {"color": PALETTE[4], "dash": "dot"}}],
    }  # fmt: skip
    return [ranges], layout, 110 + 30 * len(lines)


_LEGEND_ABOVE = {
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}, "margin": {"l": 60, "r": 16, "t": 60, "b": 48},
}  # fmt: skip


def _over_windows(plan: Plan, rows: list[CapacityRow]) -> Figure:
    by_scenario: dict[str, list[CapacityRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: r.window):
        by_scenario[row.scenario].append(row)
    base = next(iter(by_scenario))
    losses = sorted((s for s in by_scenario if s != base), key=lambda s: min(_room(r) for r in by_scenario[s]))
    drawn = [
        _curve(plan, "demand", [r.demand_per_s for r in by_scenario[base]], PALETTE[9], dash="dot"),
        _curve(plan, "with headroom", [r.staffed_per_s for r in by_scenario[base]], PALETTE[4]),
        _curve(plan, "capacity", [_stands(r) for r in by_scenario[base]], PALETTE[0]),
    ]
    drawn += [
        _curve(plan, name, [_stands(r) for r in by_scenario[name]], PALETTE[1 + i % 3], dash="dash")
        for i, name in enumerate(losses[:_MOST_LOSSES])
    ]
    across = axis("windows in order (hover for the hours)", nticks=8)
    return drawn, {"xaxis": across, "yaxis": axis("requests/s", rangemode="tozero"), **_LEGEND_ABOVE}, 400


def _curve(plan: Plan, name: str, values: list[float], colour: str, **look: Any) -> dict[str, Any]:
    """A step curve over the windows."""
    windows = [w.name for w in plan.windows]
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": list(range(len(windows))), "y": values, "text": windows,
        "hovertemplate": "%{text}: %{y:.3g}/s<extra>" + name + "</extra>",
        "line": {"shape": "hvh", "width": 2, "color": colour, **look},
    }  # fmt: skip


def _stands(row: CapacityRow) -> float:
    return row.capacity_per_s + row.hosted_per_s


def _over_scenarios(rows: list[CapacityRow]) -> Figure:
    names = [row.scenario for row in rows]

    def bar(name: str, values: list[float], colour: str) -> dict[str, Any]:
        return {"type": "bar", "name": name, "x": names, "y": values, "marker": {"color": colour}}

    drawn = [
        {**bar("capacity standing", [r.capacity_per_s for r in rows], PALETTE[0]), "offsetgroup": "has"},
        {**bar("hosted", [r.hosted_per_s for r in rows], PALETTE[5]), "offsetgroup": "has",
         "base": [r.capacity_per_s for r in rows]},
        {**bar("demand with headroom", [r.staffed_per_s for r in rows], PALETTE[4]), "offsetgroup": "needs"},
        {**bar("demand", [r.demand_per_s for r in rows], PALETTE[9]), "offsetgroup": "asks"},
    ]  # fmt: skip
    layout = {"barmode": "group", "xaxis": {"automargin": True}, "yaxis": axis("requests/s", rangemode="tozero")}
    return drawn, {**layout, **_LEGEND_ABOVE}, 400


def _room(row: CapacityRow) -> float:
    return _stands(row) - row.staffed_per_s


def _who(plan: Plan, line: int) -> str:
    return who_serves(plan.line(line))


def _label(plan: Plan, line: int) -> str:
    return f"{plan.line(line).workload}: {line_name(plan.line(line))}"


def _size(bucket: PlanBucket) -> str:
    return f"{_short(bucket.input_tokens)} > {_short(bucket.output_tokens)}"


def _short(tokens: float) -> str:
    return f"{tokens / 1000:.3g}k" if tokens >= 1000 else f"{tokens:.3g}"


def _colours(names: Any) -> dict[str, str]:
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(dict.fromkeys(names))}
