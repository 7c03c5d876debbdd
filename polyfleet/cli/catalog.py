"""`polyfleet catalog`: what can be bought, on which chips, which models, from whom, with source and date."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyfleet.cli import catalog_prices

if TYPE_CHECKING:
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.terms.offer import HostedOffer, Offer


class What(StrEnum):
    """The tables of the catalog."""

    OFFERS = "offers"
    CHIPS = "chips"
    MODELS = "models"
    PROVIDERS = "providers"


catalog = typer.Typer(
    help="Search what can be bought; read live prices into your file; see what moved.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _searching(what: What) -> Callable[..., None]:
    def search(
        chip: Annotated[str | None, typer.Option(help="Only this chip, by name or alias.")] = None,
        provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
        region: Annotated[str | None, typer.Option(help="Continent, country, jurisdiction or region name.")] = None,
        model: Annotated[str | None, typer.Option(help="Only offers of this model by the token.")] = None,
        offers: Annotated[list[Path] | None, typer.Option(help="Your own offers (CSV), laid over the catalog.")] = None,
        unproven: Annotated[bool, typer.Option("--unproven", help="Also prices no second source confirms.")] = False,
        most: Annotated[int, typer.Option("--most", min=1, help="Most rows to print.")] = 30,
        as_json: Annotated[bool, typer.Option("--json", help="Everything found, as JSON.")] = False,
    ) -> None:
        from polyfleet import api
        from polyfleet.cli.terminal import console

        found = api.search_catalog(
            what.value, chip=chip, provider=provider, region=region, model=model, overlays=offers or (),
            unproven=unproven,
        )  # fmt: skip
        if as_json:
            typer.echo(_json(found))
            return
        console().print(_TABLES[what](found[:most], len(found)))

    search.__doc__ = _HELP[what]
    return search


_HELP = {
    What.OFFERS: "What can be bought at what price; every row carries its source and date.",
    What.CHIPS: "The chips, as their datasheets state them.",
    What.MODELS: "The models that are known, and who sells them by the token.",
    What.PROVIDERS: "Whom one can buy from.",
}
for _what in What:
    catalog.command(_what.value)(_searching(_what))
catalog.command()(catalog_prices.refresh)
catalog.command()(catalog_prices.diff)


def _json(found: tuple[Any, ...]) -> str:
    import dataclasses
    import json

    rows = [{f.name: _plain(getattr(row, f.name)) for f in dataclasses.fields(row)} for row in found]
    return json.dumps(rows, indent=1)


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else value


def _note(shown: int, total: int) -> str | None:
    return f"{shown} of {total} rows; --most {total} shows all, --json all fields" if shown < total else None


def _offers(rows: tuple[Offer | HostedOffer, ...], total: int) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.offer import Offer

    columns = ["offer", "what", ">price", "dated", "source"]
    shown = table("offers", columns, note=_note(len(rows), total))
    for row in rows:
        if isinstance(row, Offer):
            what, price = f"{row.chips} x {row.chip}", f"${row.usd_per_hour / row.chips:,.2f}/chip-h"
        else:
            what = row.model.rsplit("/", 1)[-1]
            price = f"${row.usd_per_million_input:.3g} + ${row.usd_per_million_output:.3g}/M tokens"
        shown.add_row(row.id, what, price, row.as_of or "undated", _short(row.source))
    return shown


def _chips(rows: tuple[Any, ...], total: int) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import figure

    columns = ["chip", "vendor", ">GiB", ">GB/s", ">bf16", ">fp8", ">fp4", ">link GB/s", ">domain", "source"]
    shown = table("chips (TFLOPS dense)", columns, note=_note(len(rows), total))
    for c in rows:
        rates = [figure(c.tflops[f]) if f in c.tflops else "-" for f in ("bf16", "fp8", "fp4")]
        shown.add_row(
            c.name, c.vendor, figure(c.memory_gib), figure(c.bandwidth_gb_s), *rates, figure(c.link_gb_s),
            str(c.domain_chips), _short(c.source),
        )  # fmt: skip
    return shown


def _models(rows: tuple[Any, ...], total: int) -> NotedTable:
    from polyfleet.cli.terminal import table

    columns = ["model", ">params B", ">active B", ">hosts", ">from $/M in", ">from $/M out"]
    shown = table("models", columns, note=_note(len(rows), total))
    for m in rows:
        sizes = [f"{p / 1e9:,.1f}" if p else "closed" for p in (m.total_params, m.active_params)]
        prices = [f"{p:.3g}" if p is not None else "-" for p in (m.usd_per_million_input, m.usd_per_million_output)]
        shown.add_row(m.name, *sizes, str(len(m.providers)), *prices)
    return shown


def _providers(rows: tuple[Any, ...], total: int) -> NotedTable:
    from polyfleet.cli.terminal import table

    columns = ["provider", ">rented offers", ">hosted offers", "dated", "chips"]
    shown = table("providers", columns, note=_note(len(rows), total))
    for p in rows:
        dated = " to ".join(sorted({d for d in p.as_of if d})) or "undated"
        shown.add_row(p.name, str(p.rented_offers), str(p.hosted_offers), dated, ", ".join(p.chips))
    return shown


def _short(source: str) -> str:
    return source if len(source) <= 34 else source[:33] + "…"


_TABLES = {What.OFFERS: _offers, What.CHIPS: _chips, What.MODELS: _models, What.PROVIDERS: _providers}
