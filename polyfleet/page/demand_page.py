"""The page of `polyfleet demand --html`: a trace seen over time and over sizes."""

from __future__ import annotations

import math

import numpy as np

from polyfleet.page.document import PALETTE, Page, axis
from polyfleet.traffic import TraceSummary


def demand_page(summary: TraceSummary) -> str:
    """One offline HTML file."""
    page = Page(f"Demand: {summary.source}")
    page.raw("<h1>What is in the trace</h1>")
    page.paragraph(f"{summary.source}, {summary.requests:,} requests", "quiet")
    page.facts(
        [
            (f"{summary.mean_rate_per_s:.3g}/s", "mean rate"),
            (f"{summary.peak_rate_per_s:.3g}/s", "busiest minute"),
            (f"{summary.mean_input_tokens:,.0f}", "mean input tokens"),
            (f"{summary.mean_output_tokens:,.0f}", "mean output tokens"),
            (f"{summary.prefix_share:.0%}", "input seen before"),
            (f"{summary.work_error.largest:.1%}", "error of planning with buckets"),
        ]
    )
    for note in summary.demand.notes:
        page.paragraph(note, "quiet")
    _rates(page, summary)
    _sizes(page, summary)
    return page.html()


def _rates(page: Page, summary: TraceSummary) -> None:
    page.heading("Requests over time", f"mean rate in steps of {summary.rate_bin_s:,} s")
    minutes = np.arange(len(summary.rate_per_s)) * summary.rate_bin_s / 60
    line = {"x": minutes.tolist(), "y": summary.rate_per_s.tolist(), "type": "scatter", "mode": "lines",
            "line": {"shape": "hv", "width": 1.2, "color": PALETTE[0]}}  # fmt: skip
    page.figure(
        [line], {"xaxis": axis("minutes from the first request"), "yaxis": axis("requests/s", rangemode="tozero")}
    )


def _sizes(page: Page, summary: TraceSummary) -> None:
    page.heading(
        "Sizes", "requests by input and output tokens (stronger: more); circles: the buckets, by share of decode work"
    )
    centre_in, centre_out = (np.sqrt(e[1:] * e[:-1]) for e in (summary.input_edges, summary.output_edges))
    counts = summary.size_counts.T.tolist()
    heat = {
        "x": centre_in.tolist(), "y": centre_out.tolist(), "customdata": counts, "type": "heatmap", "showscale": False,
        "z": [[math.log10(v) if v else None for v in row] for row in counts],
        "colorscale": [[0, "rgba(37,99,235,0.10)"], [1, "rgba(37,99,235,0.95)"]],
        "hovertemplate": "%{customdata} requests near %{x:.0f} in, %{y:.0f} out<extra></extra>",
    }  # fmt: skip
    circles = {
        "x": [b.bucket.input_tokens for b in summary.buckets],
        "y": [b.bucket.output_tokens for b in summary.buckets],
        "text": [f"{b.share_requests:.1%} of requests, {b.share_decode:.1%} of decode" for b in summary.buckets],
        "type": "scatter", "mode": "markers", "name": "bucket", "hoverinfo": "text",
        "marker": {"size": [6 + 40 * b.share_decode**0.5 for b in summary.buckets], "color": "rgba(217,119,6,0.35)",
                   "line": {"color": PALETTE[1], "width": 1.5}},
    }  # fmt: skip
    log = {"type": "log", "exponentformat": "none"}
    page.figure(
        [heat, circles],
        {"xaxis": axis("input tokens", **log), "yaxis": axis("output tokens", **log), "showlegend": False},
        height=460,
    )
