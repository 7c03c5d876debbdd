"""How fast a model runs: builds, predictions, tables of rows, and the user's own measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyfleet.api.load import find_model, speed_model
from polyfleet.errors import InputError, UnservableError
from polyfleet.terms.build import Build
from polyfleet.terms.chip import Chip
from polyfleet.terms.demand import Bucket
from polyfleet.terms.evidence import Band, Evidence
from polyfleet.terms.precision import Precision
from polyfleet.terms.slo import Slo

if TYPE_CHECKING:
    from polyfleet.terms.model import Model
    from polyfleet.terms.speed import Performance

_CONCURRENCIES = (1, 4, 16, 64, 256)


@dataclass(frozen=True, slots=True)
class RunnableBuild:
    """A build with the model and the chip that it names."""

    model: Model
    chip: Chip
    build: Build


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one size, and what is asked of them: a concurrency, a promise, or neither (a sweep)."""

    input_tokens: float
    output_tokens: float
    concurrency: float | None = None
    slo: Slo | None = None


@dataclass(frozen=True, slots=True)
class BuildSpeed:
    """One row of an answer: a build at a load. `why_not` is set, and all figures are zero, where it cannot serve it.

    Under a promise, `ttft_ms` and `tpot_ms` are those of the highest load that keeps it, at the promise's percentiles.
    """

    label: str
    concurrency: float
    requests_per_s: Band
    output_tokens_per_s: Band
    ttft_ms: Band
    tpot_ms: Band
    evidence: Evidence
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class PredictedTable:
    """A CSV text with predictions added, and how many of its rows have them."""

    text: str
    answered: int
    total: int


def builds_of(
    model: str, chip: str, chips: int, *, precision: str | None = None, engine: str | None = None
) -> tuple[RunnableBuild, ...]:
    """Every build of a model on exactly so many chips.

    Raises ModelError, CatalogError or InputError for unknown names, UnservableError with the reason where none can run.
    """
    from polyfleet.catalog.chips import find_chip
    from polyfleet.catalog.recipes import builds_for, find_engine, why_not

    known, where = find_model(model), find_chip(chip)
    formats = None if precision is None else (_precision(precision),)
    engines = None if engine is None else (find_engine(engine),)
    found = builds_for(known, where, formats, chips, engines=engines)
    if not found:
        raise UnservableError(why_not(known, where, formats, chips, engines=engines))
    exact = tuple(RunnableBuild(known, where, b) for b in found if b.chips == chips)
    if not exact:
        sizes = " or ".join(str(n) for n in sorted({b.chips for b in found}))
        raise UnservableError(f"no build of {model} takes {chips} x {where.name}; there are builds of {sizes} chips")
    return exact


def speeds_of(build: RunnableBuild, load: Load) -> list[BuildSpeed]:
    """What a build does at a load: one row at a concurrency or under a promise, a sweep where neither is given.

    Raises InputError where a request is longer than the model's context.
    """
    most = build.model.max_context_tokens
    if load.input_tokens + load.output_tokens > most:
        raise InputError(
            f"longer than the context of {build.model.name}", value=f"{load.input_tokens + load.output_tokens:,.0f}",
            hint=f"input and output together may be {most:,} tokens",
        )  # fmt: skip
    speed = speed_model()
    if load.slo is not None:
        return [_under_promise(build, load, load.slo)]
    return [
        _row(build, load, speed.performance(
            build.model, build.chip, build.build, load.input_tokens, load.output_tokens, concurrency
        ))
        for concurrency in ([load.concurrency] if load.concurrency else _CONCURRENCIES)
    ]  # fmt: skip


def predict_table(rows: Path) -> PredictedTable:
    """Predictions beside measured rows. Raises RowsError where the file lacks a column; a row that cannot be
    predicted says so in `why_not`."""
    from polyfleet.catalog.chips import find_chip
    from polyfleet.speed.rows import read_rows
    from polyfleet.speed.table import predict_rows, rows_csv

    header, read = read_rows(rows)
    filled = predict_rows(read, find_model, find_chip, speed_model())
    return PredictedTable(rows_csv(header, filled), sum(not row["why_not"] for row in filled), len(filled))


def _precision(text: str) -> Precision:
    from polyfleet.catalog.reading import did_you_mean

    try:
        return Precision(text.casefold())
    except ValueError:
        raise InputError("unknown precision", value=text, hint=did_you_mean(text, Precision)) from None


def _row(build: RunnableBuild, load: Load, found: Performance) -> BuildSpeed:
    rate = found.output_tokens_per_s.scaled(1 / load.output_tokens)
    return BuildSpeed(
        _label(build.build), found.concurrency, rate, found.output_tokens_per_s, found.ttft_ms, found.tpot_ms,
        found.evidence,
    )  # fmt: skip


def _under_promise(build: RunnableBuild, load: Load, slo: Slo) -> BuildSpeed:
    bucket = Bucket(load.input_tokens, load.output_tokens)
    found = speed_model().capacity(build.model, build.chip, build.build, (bucket,), slo)[0]
    tokens = found.requests_per_s.scaled(load.output_tokens)
    ttft, tpot = (Band(v, v, v) for v in (found.ttft_ms, found.tpot_ms))
    return BuildSpeed(
        _label(build.build), found.concurrency, found.requests_per_s, tokens, ttft, tpot, found.evidence, found.why_not
    )


def _label(build: Build) -> str:
    layout = f"tp{build.tp}" if build.dp == 1 else f"dp{build.dp} ep{build.ep}"
    return f"{build.engine} {build.precision} {layout}"
