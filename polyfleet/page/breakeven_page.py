"""The page of `polyfleet breakeven --html`: cost over rate, on own chips and by the token."""

from __future__ import annotations

import math
from typing import Any

from polyfleet.page.document import PALETTE, Page, axis
from polyfleet.plan import Curve


def breakeven_page(curves: tuple[Curve, ...], title: str) -> str:
    """One offline HTML file."""
    page = Page(f"Own chips or tokens: {title}")
    page.raw("<h1>Own chips or tokens</h1>")
    page.paragraph(title, "quiet")
    page.paragraph(
        "Own chips: the best single build and offer, in whole replicas, without share caps or standby for losses; the "
        "band runs from the P90 of speed (cheap) to the P10 (dear). Hosted: the cheapest host, whose speed is not "
        "promised. The dotted line is today's rate."
    )
    for curve in curves:
        page.heading(f"{curve.workload}, {curve.shape}", _verdict(curve))
        page.figure(*_figure(curve))
    return page.html()


def _verdict(curve: Curve) -> str:
    fast, middle, slow = ("never" if c is None else f"from {c:.3g}/s" for c in curve.crossing_per_s)
    today = f"today {curve.today_per_s:.3g}/s"
    return f"{curve.model}: own chips are cheaper {middle} (fast: {fast}; slow: {slow}); {today}"


def _figure(curve: Curve) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    rates = curve.rate_per_s.tolist()

    def line(name: str, values: list[float | None], colour: str, **more: Any) -> dict[str, Any]:
        look = {"type": "scatter", "mode": "lines", "line": {"color": colour}}
        return {**look, "name": name, "x": rates, "y": values, **more}

    fast, middle, slow = ([v if math.isfinite(v) else None for v in row.tolist()] for row in curve.own_usd)
    hosted = [v if math.isfinite(v) else None for v in curve.hosted_usd.tolist()]
    thin = {"color": "rgba(37,99,235,0.4)", "width": 1}
    drawn = [
        {**line("own, fast", fast, PALETTE[0]), "line": thin, "showlegend": False},
        {**line("own, slow", slow, PALETTE[0], fill="tonexty", fillcolor="rgba(37,99,235,0.15)"), "line": thin,
         "showlegend": False},
        line(f"own: {curve.build or 'no build'}", middle, PALETTE[0]),
        line(f"hosted: {curve.host or 'nobody'}", hosted, PALETTE[1]),
    ]  # fmt: skip
    today = {"type": "line", "x0": curve.today_per_s, "x1": curve.today_per_s, "yref": "paper", "y0": 0, "y1": 1,
             "line": {"color": PALETTE[9], "dash": "dot"}}  # fmt: skip
    layout = {
        "xaxis": axis("requests/s, mean", type="log"), "yaxis": axis("USD a month", type="log"), "shapes": [today],
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}, "margin": {"l": 60, "r": 16, "t": 40, "b": 48},
    }  # fmt: skip
    return drawn, layout, 380
