"""`polyfleet calibrate`: the user's own measurements correct the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    rows: Annotated[Path, typer.Argument(help="CSV, or the JSON of vllm bench serve, guidellm or AIPerf.")],
    model: Annotated[
        str | None, typer.Option(help="Where the file does not state it; so for the other options.")
    ] = None,
    chip: Annotated[str | None, typer.Option(help="The chip it was measured on.")] = None,
    chips: Annotated[int | None, typer.Option(min=1, help="Chips of the replica.")] = None,
    tp: Annotated[int | None, typer.Option(min=1, help="Tensor-parallel degree, as the chip's vendor counts.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine, for instance vLLM.")] = None,
    precision: Annotated[str | None, typer.Option(help="Format of the weights.")] = None,
) -> None:
    """Take measurements into your own catalog: plans and predictions follow them from then on."""
    from polyfleet import api
    from polyfleet.cli.terminal import console, table

    given = {
        "model": model, "hardware": chip, "n_chips": chips, "tp": tp, "engine": engine, "weight_dtype": precision,
    }  # fmt: skip
    done = api.calibrate(rows, {column: str(value) for column, value in given.items() if value is not None})
    note = f"{done.added} rows added to {done.file}, {done.before} were there"
    shown = table(
        "predictions for the rows added", ["metric", ">rows", ">error before", ">bias", ">error now"], note=note
    )
    for row in done.corrections:
        shown.add_row(
            row.metric, str(row.rows), f"{row.error_before:.0%}", f"{row.bias_before:+.0%}", f"{row.error_after:.0%}"
        )
    console().print(shown)
