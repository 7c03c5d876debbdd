"""`polyfleet speed`: how fast a model runs on a chip, or predictions beside a table of measured rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.errors import InputError

if TYPE_CHECKING:
    from polyfleet.api import BuildSpeed
    from polyfleet.cli.terminal import NotedTable
    from polyfleet.terms.evidence import Band
    from polyfleet.terms.slo import Slo


def speed(
    model: Annotated[str | None, typer.Option(help="A catalog name, or a folder or file with a config.json.")] = None,
    chip: Annotated[str | None, typer.Option(help="A chip of the catalog, by name or alias.")] = None,
    chips: Annotated[int, typer.Option(min=1, help="Chips of one replica.")] = 1,
    input_tokens: Annotated[float, typer.Option("--input", min=1, max=1e8, help="Input tokens of a request.")] = 1024,
    output_tokens: Annotated[float, typer.Option("--output", min=1, max=1e8, help="Output tokens of a request.")] = 256,
    concurrency: Annotated[float | None, typer.Option(min=1, max=1e5, help="Requests in flight.")] = None,
    slo_ttft: Annotated[
        str | None, typer.Option(help="Promise, for instance '1s p95': the highest load under it.")
    ] = None,
    slo_tpot: Annotated[str | None, typer.Option(help="Promise, for instance '40ms p95'.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16, fp8, nvfp4, ...; default: the checkpoint's own.")] = None,
    engine: Annotated[str | None, typer.Option(help="Default: the chip's usual engine.")] = None,
    rows: Annotated[Path | None, typer.Option(help="A CSV of measured rows to predict.")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="With --rows: where the predictions go.")] = None,
) -> None:
    """Predict throughput, TTFT and TPOT, each with its P10-P90 band and what it rests on."""
    from polyfleet import api
    from polyfleet.cli.terminal import console

    if rows is not None:
        _predict_table(rows, output)
        return
    if model is None or chip is None:
        raise InputError(
            "give --model and --chip, or --rows", hint="for instance --model openai/gpt-oss-120b --chip MI300X"
        )
    slo = _slo(slo_ttft, slo_tpot)
    if concurrency is not None and slo is not None:
        raise InputError("give --concurrency or a promise, not both")
    builds = api.builds_of(model, chip, chips, precision=precision, engine=engine)
    asked = api.Load(input_tokens, output_tokens, concurrency, slo)
    found = [result for build in builds for result in api.speeds_of(build, asked)]
    console().print(_table(f"{model} on {chips} x {builds[0].chip.name}", found))


def _predict_table(rows: Path, output: Path | None) -> None:
    from polyfleet import api
    from polyfleet.cli.terminal import progress
    from polyfleet.files import check_writable, write_whole

    if output is None:
        raise InputError("--rows needs -o FILE: where the predictions go")
    check_writable(output)
    with progress(f"predicting {rows}"):
        table = api.predict_table(rows)
    write_whole(output, table.text)
    typer.echo(f"wrote {output}: {table.answered} of {table.total} rows predicted")


def _slo(ttft: str | None, tpot: str | None) -> Slo | None:
    from polyfleet.terms.slo import Slo

    if ttft is None and tpot is None:
        return None
    ttft_ms, ttft_percentile = _latency("--slo-ttft", ttft) if ttft is not None else (None, 95.0)
    tpot_ms, tpot_percentile = _latency("--slo-tpot", tpot) if tpot is not None else (None, 95.0)
    return Slo(ttft_ms, ttft_percentile, tpot_ms, tpot_percentile)


def _latency(option: str, text: str) -> tuple[float, float]:
    from polyfleet.terms.units import parse_latency

    try:
        return parse_latency(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def _table(title: str, found: list[BuildSpeed]) -> NotedTable:
    from polyfleet.cli.terminal import table
    from polyfleet.terms.show import figure

    columns = ["build", ">in flight", ">requests/s", ">output tok/s", ">TTFT ms", ">TPOT ms", "evidence"]
    shown = table(title, columns, note="figures with their P10-P90 band; output tok/s is of one whole replica")
    for result in found:
        if result.why_not:
            shown.add_row(result.label, "-", "0", "-", "-", "-", result.why_not)
            continue
        shown.add_row(
            result.label, figure(result.concurrency), _band(result.requests_per_s), _band(result.output_tokens_per_s),
            _band(result.ttft_ms), _band(result.tpot_ms), result.evidence.value,
        )  # fmt: skip
    return shown


def _band(band: Band) -> str:
    from polyfleet.terms.show import figure

    if band.p10 == band.p90:
        return figure(band.p50)
    return f"{figure(band.p50)} ({figure(band.p10)}-{figure(band.p90)})"
