"""`polyfleet drill`: break replicas in the middle of streams, and see what clients read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from polyfleet.drill.report import DrillReport
    from polyfleet.drill.run import Blow, Course

KEY_VARIABLE = "POLYFLEET_KEY"
_STRICT = "judged strictly: two undisturbed runs agreed in every answer"
_SOFT = "judged softly: the engine itself wavers, so requests were cut before the first token that it is not sure of"


def drill(
    kill: Annotated[int, typer.Option(help="Replicas to kill (SIGKILL).", min=0)] = 0,
    freeze: Annotated[int, typer.Option(help="Replicas to freeze (SIGSTOP).", min=0)] = 0,
    cut: Annotated[int, typer.Option(help="Replicas whose connections are reset.", min=0)] = 0,
    slow: Annotated[int, typer.Option(help="Replicas whose answers are slowed down.", min=0)] = 0,
    garble: Annotated[int, typer.Option(help="Replicas whose answers have bytes overwritten.", min=0)] = 0,
    streams: Annotated[int, typer.Option(help="Streams at once.", min=1, max=10_000)] = 64,
    tokens: Annotated[int, typer.Option(help="Output tokens of each, at most.", min=8)] = 128,
    repeat: Annotated[int, typer.Option(help="Rounds of each fault.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Chooses whom to strike, and when.")] = 0,
    slow_ms: Annotated[float, typer.Option(help="Delay of each piece from a slow replica.", min=0)] = 100.0,
    limit_s: Annotated[float, typer.Option(help="How long a client waits for its whole answer.", min=1)] = 120.0,
    model: Annotated[str | None, typer.Option(help="The model to ask; default: the first that is served.")] = None,
    routes: Annotated[
        Path | None, typer.Option(help="Routes of the replicas; default: those of the fleet that is up.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help=f"A running gate, for --kill and --freeze; its key in {KEY_VARIABLE}. Default: its own."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
) -> None:
    """Break replicas in mid-stream; every client must read its whole, right answer.

    The same greedy requests run undisturbed first; then again with each fault (without any option: each once). Exit
    code 1 where an answer failed, lost or doubled anything.
    """
    from polyfleet.files import check_writable

    if json_file is not None:
        check_writable(json_file)
    counts = {"kill": kill, "freeze": freeze, "cut": cut, "slow": slow, "garble": garble}
    course = _course(counts, streams, tokens, repeat, seed, limit_s, with_proxies=endpoint is None)
    report = _play(course, _routes(routes), endpoint, model, slow_ms)
    _show(report)
    if json_file is not None:
        _write(report, json_file)
    if not report.clean:
        raise typer.Exit(1)


def _course(
    counts: dict[str, int], streams: int, tokens: int, rounds: int, seed: int, limit_s: float, *, with_proxies: bool
) -> Course:
    try:
        from polyfleet.drill.run import Course
    except ModuleNotFoundError:
        from polyfleet.errors import MissingExtraError

        raise MissingExtraError("the drill", "serve") from None
    return Course(_blows(counts, with_proxies=with_proxies), streams, tokens, rounds, seed, limit_s)


def _blows(counts: dict[str, int], *, with_proxies: bool) -> tuple[Blow, ...]:
    from polyfleet.drill.faults import Fault
    from polyfleet.drill.run import Blow
    from polyfleet.errors import InputError

    if not any(counts.values()):
        counts = {fault.value: 1 for fault in Fault if with_proxies or not fault.by_proxy}
    blows = tuple(Blow(Fault(name), count) for name, count in counts.items() if count)
    if not with_proxies and (wrong := [blow.fault for blow in blows if blow.fault.by_proxy]):
        hint = "leave out --endpoint, and the drill starts a gate of its own"
        raise InputError(f"--{wrong[0]} works between gate and replica, which a running gate does not allow", hint=hint)
    return blows


def _routes(given: Path | None) -> Path:
    from polyfleet.errors import InputError
    from polyfleet.settings import Settings

    found = given or Settings.from_environment().home / "routes.json"
    if not found.exists():
        hint = "name another by --routes" if given else "start a fleet by `polyfleet up SPEC`, or name --routes FILE"
        raise InputError("there are no routes", file=str(found), hint=hint)
    return found


def _play(course: Course, routes: Path, endpoint: str | None, model: str | None, slow_ms: float) -> DrillReport:
    import asyncio

    from polyfleet.cli.terminal import progress
    from polyfleet.drill.play import against, behind_own_gate

    with progress("starting") as tell:
        if endpoint is not None:
            key = os.environ.get(KEY_VARIABLE)
            return asyncio.run(against(endpoint.rstrip("/"), routes, course, key=key, model=model, tell=tell))
        return asyncio.run(behind_own_gate(routes, course, model=model, slow_ms=slow_ms, tell=tell))


def _show(report: DrillReport) -> None:
    from polyfleet.cli.terminal import console, table

    columns = ["fault", ">replicas", ">rounds", ">streams", ">failed", ">wrong", ">lost", ">doubled", ">resumed"]
    title = f"{report.model} at {report.endpoint}: {report.streams} streams of up to {report.tokens} tokens"
    shown = table(title, [*columns, ">longest gap"], note="lost and doubled in tokens; gap: as one client saw it")
    for row in report.rows:
        counts = (row.struck, row.rounds, row.streams, row.failed, row.wrong, row.tokens_lost, row.tokens_doubled)
        gap = f"{row.longest_gap_s:.2f} s"
        shown.add_row(row.fault, *(str(count) for count in counts), str(row.resumed), gap)
    out = console()
    out.print(shown)
    out.print(_STRICT if report.strict else _SOFT)
    for row in report.rows:
        for detail in row.details:
            out.print(f"{row.fault}: {detail}")
        if row.refusals:
            out.print(
                f"note: {row.fault}: {row.refusals} times a full fleet asked a client to come back later, which it did"
            )
        if row.unrepeatable:
            out.print(
                f"note: {row.fault}: {row.unrepeatable} answers differ as the engine itself differs when asked twice"
            )
        if row.fault not in {"none", "slow"} and not row.resumed:
            out.print(f"note: {row.fault}: no stream was resumed; it may have struck nothing in mid-stream")
    out.print("every client read its whole answer" if report.clean else "NOT every client read its whole answer")


def _write(report: DrillReport, file: Path) -> None:
    import json

    from polyfleet.files import write_whole

    write_whole(file, json.dumps(report.as_json(), indent=2) + "\n")
