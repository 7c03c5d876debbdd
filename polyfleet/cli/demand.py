"""`polyfleet demand`: what is in a trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.traffic import TraceSummary


def demand(
    trace: Annotated[
        Path, typer.Argument(help="Azure, BurstGPT or plain CSV, Mooncake or plain JSONL, Parquet; .gz too.")
    ],
    buckets: Annotated[
        int | None, typer.Option(min=1, help="Size buckets; default: the fewest that keep the work.")
    ] = None,
    windows: Annotated[int | None, typer.Option(min=1, help="Merge the hours to at most this many windows.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write plots to this page, readable offline.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Show what is in a trace: rates, lengths, size buckets, burstiness, prefix sharing."""
    from polyfleet.cli.terminal import console, progress
    from polyfleet.files import check_writable, write_whole
    from polyfleet.traffic import describe

    if html:
        check_writable(html)
    with progress(f"reading {trace}"):
        summary = describe(trace, buckets=buckets, windows=windows)
    if html:
        from polyfleet.page.demand_page import demand_page

        write_whole(html, demand_page(summary))
    if as_json:
        typer.echo(_json(summary))
        return
    out = console()
    out.print(_facts(summary))
    out.print(_buckets(summary))
    for note in summary.demand.notes:
        out.print(f"note: {note}")
    if html:
        out.print(f"wrote {html}")


def _facts(summary: TraceSummary) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import figure
    from polyfleet.traffic import QUANTILES

    at = {q: i for i, q in enumerate(QUANTILES)}
    shown = table(f"{summary.source}: {summary.requests:,} requests in {summary.duration_s / 3600:.2f} h",
                  ["", ">mean", ">p50", ">p90", ">p99", ">most"])  # fmt: skip
    for name, mean, row in (
        ("input tokens", summary.mean_input_tokens, summary.quantiles[0]),
        ("output tokens", summary.mean_output_tokens, summary.quantiles[1]),
    ):
        shown.add_row(name, figure(mean), *(figure(float(row[at[q]])) for q in (0.5, 0.9, 0.99, 1.0)))
    shown.add_row("requests/s", figure(summary.mean_rate_per_s), "", "", "", figure(summary.peak_rate_per_s))
    spread = summary.burstiness
    values = [spread.dispersion_1s, spread.dispersion_10s, spread.dispersion_60s]
    told = " / ".join("-" if v is None else figure(v) for v in values)
    shown.note = (
        f"burstiness (variance over mean of counts in 1 / 10 / 60 s; 1 = Poisson): {told}\n"
        f"input tokens served from a prefix seen before: {summary.prefix_share:.0%}\n"
        f"largest error in the work of any kind from planning with bucket means: {summary.work_error.largest:.1%}"
    )
    return shown


def _buckets(summary: TraceSummary) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import figure

    columns = [
        ">input",
        ">output",
        ">cached",
        ">input range",
        ">output range",
        ">requests",
        ">prefill",
        ">decode",
        ">KV",
    ]
    shown = table("size buckets (mean tokens; share of requests and of work)", columns)
    for row in summary.buckets:
        shown.add_row(
            figure(row.bucket.input_tokens), figure(row.bucket.output_tokens), figure(row.bucket.cached_tokens),
            "{:,}-{:,}".format(*row.input_range), "{:,}-{:,}".format(*row.output_range),
            f"{row.share_requests:.1%}", f"{row.share_prefill:.1%}", f"{row.share_decode:.1%}",
            f"{row.share_kv_residency:.1%}",
        )  # fmt: skip
    return shown


def _json(summary: TraceSummary) -> str:
    import dataclasses
    import json

    plain = {f.name: getattr(summary, f.name) for f in dataclasses.fields(summary) if f.name != "demand"}
    return json.dumps(plain, indent=1, default=_plain)


def _plain(value: object) -> object:
    import dataclasses

    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")
