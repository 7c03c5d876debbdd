"""`polyfleet breakeven`: own chips or tokens, from how much traffic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.plan import Curve

_SHOWN = (60, 80, 100, 120, 140, 160, 180)  # of the curve's 241 points: a thirtieth to thirty times today's rate


def breakeven(
    spec: Annotated[Path, typer.Argument(help="The spec, a YAML or JSON file.")],
    html: Annotated[Path | None, typer.Option(help="Write the curves to this page, readable offline.")] = None,
) -> None:
    """Say from how much traffic own chips are cheaper than tokens, by workload and day shape, with the band."""
    from polyfleet import api
    from polyfleet.cli.terminal import console, progress
    from polyfleet.files import check_writable, write_whole

    if html:
        check_writable(html)
    with progress("own chips or tokens") as tell:
        curves = api.breakeven(spec, progress=tell)
    if html:
        from polyfleet.page.breakeven_page import breakeven_page

        write_whole(html, breakeven_page(curves, spec.name))
    out = console()
    out.print(_crossings(str(spec), curves))
    for curve in curves:
        if curve.shape == "flat":
            out.print(_costs(curve))
    if html:
        out.print(f"wrote {html}")


def _crossings(title: str, curves: tuple[Curve, ...]) -> NotedTable:
    from polyfleet.cli.terminal import table

    columns = ["workload", "day shape", ">today", ">own chips from", ">if fast", ">if slow", "own", "host"]
    note = (
        "own chips: the best single build and offer, whole replicas, without share caps or standby for losses; "
        "if fast, if slow: at the P90 and the P10 of speed; a host's speed is not promised"
    )
    shown = table(f"{title}: requests/s from which own chips stay cheaper", columns, note=note)
    for c in curves:
        fast, middle, slow = c.crossing_per_s
        shown.add_row(
            c.workload, c.shape, f"{c.today_per_s:.3g}", _rate(middle), _rate(fast), _rate(slow),
            c.build or "no build", c.host or "nobody sells it",
        )  # fmt: skip
    return shown


def _rate(rate: float | None) -> str:
    return "never" if rate is None else f"{rate:.3g}"


def _costs(curve: Curve) -> NotedTable:
    from polyfleet.cli.terminal import table

    columns = [">requests/s", ">own, USD/month", ">if fast", ">if slow", ">hosted, USD/month"]
    shown = table(f"{curve.workload} ({curve.model}), flat", columns)
    for i in _SHOWN:
        fast, middle, slow = curve.own_usd[:, i]
        shown.add_row(
            f"{curve.rate_per_s[i]:.3g}", _usd(middle), _usd(fast), _usd(slow), _usd(float(curve.hosted_usd[i]))
        )
    return shown


def _usd(amount: float) -> str:
    import math

    from polyfleet.terms.show import usd

    return usd(amount) if math.isfinite(amount) else "-"
