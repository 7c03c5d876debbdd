"""`polyfleet check`: is the spec sound, and does everything it names exist?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.terms.demand import Demand
    from polyfleet.terms.spec import Workload


def check(spec: Annotated[Path, typer.Argument(help="The spec, a YAML or JSON file.")]) -> None:
    """Validate a spec: keys, units, and the models, traces, regions and chips that it names."""
    from polyfleet import api
    from polyfleet.cli.terminal import console, progress, table

    with progress("reading the spec and its traces") as tell:
        inputs = api.load_inputs(spec, tell)
    shown = table(f"{spec}: sound", ["workload", "model", ">requests/s", ">windows", ">buckets", "promise"])
    for name, workload in inputs.spec.workloads.items():
        shown.add_row(name, workload.model, *_load(inputs.demands.get(name)), _promise(workload))
    out = console()
    out.print(shown)
    for note in inputs.notes:
        out.print(f"note: {note}")


def _load(demand: Demand | None) -> list[str]:
    from polyfleet.terms.show import figure

    if demand is None:
        return ["batch", "-", "-"]
    return [figure(demand.mean_rate_per_s), str(len(demand.windows)), str(len(demand.buckets))]


def _promise(workload: Workload) -> str:
    if workload.batch is not None:
        batch = workload.batch
        every, within = batch.every / 3600, batch.within / 3600
        return f"{batch.output_tokens:.3g} output tokens every {every:g} h within {within:g} h"
    slo = workload.slo.slo
    parts = [f"TTFT {slo.ttft_ms:g} ms p{slo.ttft_percentile:g}"] if slo.ttft_ms else []
    parts += [f"TPOT {slo.tpot_ms:g} ms p{slo.tpot_percentile:g}"] if slo.tpot_ms else []
    return ", ".join(parts) or "none"
