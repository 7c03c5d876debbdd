"""`polyfleet catalog refresh` and `catalog diff`: live prices into the user's file, and what moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from polyfleet.catalog.imports.diff import Change, Priced, Touched
    from polyfleet.catalog.imports.fetch import Fetch
    from polyfleet.catalog.imports.merge import Move
    from polyfleet.catalog.imports.refresh import Refreshed
    from polyfleet.catalog.imports.sources import Found
    from polyfleet.cli.terminal import NotedTable

_MOST = 20


def refresh(
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="LIST",
            help="skypilot, azure, aws, aws-savings-plans, spot-advisor, gcp, gpuhunt, or a saved FILE; repeatable.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Your file of offers: made, or merged into.")] = Path(
        "prices.csv"
    ),
    provider: Annotated[list[str] | None, typer.Option(help="Only these clouds (skypilot, gpuhunt, FILE).")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only these regions (azure, aws).")] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Take this price though it is held back or your own; * fits any."),
    ] = None,
    as_of: Annotated[str | None, typer.Option(metavar="DATE", help="The day of a FILE that bears none.")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Drop rows that a list wrote and has no more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
    mirror: Annotated[
        str | None,
        typer.Option(envvar="POLYFLEET_CATALOG_MIRROR", metavar="URL", help="Ask this server for every address."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Read price lists into your file, by offer id; name it in a spec under `catalog.offers`.

    A price that moves by more than 3 x is held back and shown. If a list is not whole, the file stays as it is.
    """
    from polyfleet.catalog.imports.refresh import refresh as read_lists
    from polyfleet.catalog.imports.sources import Wanted
    from polyfleet.cli.terminal import progress

    with progress("reading prices") as tell:
        wanted = Wanted(_today(), tuple(provider or ()), tuple(region or ()), tell)
        done = read_lists(
            lists or ["skypilot"], output, _fetch(mirror), wanted,
            as_of=_date(as_of), accept=accept or (), prune=prune, dry_run=dry_run,
        )  # fmt: skip
    for pattern in _idle(accept or (), done):
        typer.echo(f"--accept {pattern} fits no price that was read", err=True)
    if as_json:
        _print_json(_refresh_json(done))
        return
    from polyfleet.cli.terminal import console

    shown = console()
    for table in _refresh_tables(done):
        shown.print(table)
    typer.echo(_outcome(done, output))


def diff(
    old: Annotated[Path, typer.Argument(help="A file of offers; alone it is compared with the packaged catalog.")],
    others: Annotated[
        list[Path] | None, typer.Argument(metavar="[NEW.csv] [PLAN.json]...", help="A newer file of offers; plans.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Most rows to print.")] = _MOST,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Show what moved, appeared or went away between two files of offers, and which plans it touches."""
    from polyfleet.api.planning import load_plan
    from polyfleet.catalog.imports.diff import compare, touch

    files = [path for path in others or () if path.suffix != ".json"]
    if len(files) > 1:
        raise typer.BadParameter(f"two files of offers at most, and plans that end in .json: {files[1]}")
    before, after = (old, files[0]) if files else (None, old)
    plans = {str(path): load_plan(path) for path in others or () if path.suffix == ".json"}
    changes, touched = touch(compare(before, after), plans, after)
    if as_json:
        _print_json({"changes": [_plain(c) for c in changes], "plans": [_plain(t) for t in touched]})
        return
    from polyfleet.cli.terminal import console

    shown = console()
    shown.print(_changes(changes, most, "the packaged catalog" if before is None else before.name, after.name))
    if touched:
        shown.print(_touched(touched))


def _fetch(mirror: str | None) -> Fetch:
    from polyfleet.catalog.imports.fetch import HttpFetch, via_mirror

    return via_mirror(HttpFetch(), mirror) if mirror else HttpFetch()


def _idle(accept: Sequence[str], done: Refreshed) -> list[str]:
    """Patterns that fit nothing: most likely misspelt."""
    from fnmatch import filter as fitting

    read = [name for one in done.found for name in one.cells]
    return [pattern for pattern in accept if not fitting(read, pattern)]


def _today() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).date().isoformat()


def _date(text: str | None) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise typer.BadParameter(f"no date: {text}; write it as 2026-09-30") from None


def _refresh_tables(done: Refreshed) -> Iterator[NotedTable | str]:
    for one in done.found:
        yield from _read(one)
    merged = done.merged
    if merged.held:
        note = "not taken; if one is right: --accept ID"
        yield _moves(f"held back, for they move by more than 3 x: {len(merged.held)}", merged.held, note)
    if merged.kept:
        note = "they stay; to take the list's price: --accept ID"
        yield _moves(f"your own rows that a list prices, too: {len(merged.kept)}", merged.kept, note)
    if merged.moved:
        far = sorted(merged.moved, key=lambda m: -max(m.factor, 1 / m.factor))
        yield _moves(f"moved: {len(far):,}", far, None)


def _read(one: Found) -> Iterator[NotedTable | str]:
    from polyfleet.cli.terminal import table

    gave = f"{len(one.bands):,} rates of interruptions" if one.bands else f"{len(one.cells):,} offers understood"
    heading, remarks = f"{one.name}: {one.tally.read:,} rows read, {gave}", "\n".join(one.tally.remarks)
    if not one.tally.left_out:
        yield "\n".join(part for part in (heading, remarks) if part) + "\n"
        return
    shown = table(heading, [">left out", "why", "such as"], note=remarks or None)
    for reason, count in one.tally.left_out.most_common():
        shown.add_row(f"{count:,}", reason, ", ".join(one.tally.examples.get(reason, ())))
    yield shown


def _moves(heading: str, moves: list[Move], note: str | None) -> NotedTable:
    from polyfleet.cli.terminal import table

    more = f"{len(moves) - _MOST} more: --json shows all" if len(moves) > _MOST else None
    said = "; ".join(part for part in (note, more) if part) or None
    mixed = len({m.why for m in moves}) > 1  # what the old figure is, where it is not the same for all
    shown = table(heading, ["offer", ">was $/h", ">now $/h", ">times", *(["beside"] if mixed else [])], note=said)
    for m in moves[:_MOST]:
        shown.add_row(m.id, _usd(m.was), _usd(m.now), f"{m.factor:.2f}", *([m.why] if mixed else []))
    return shown


def _outcome(done: Refreshed, output: Path) -> str:
    m = done.merged
    parts = [
        f"{len(m.added):,} new", f"{len(m.moved):,} moved", f"{m.same:,} the same", f"{len(m.held):,} held back",
        f"{len(m.kept):,} your own",
    ]  # fmt: skip
    parts += [f"{m.rates:,} rates of interruptions"] if m.rates else []
    parts += [f"{m.older:,} older than the present price, not taken"] if m.older else []
    parts += [f"{len(m.gone):,} no more listed"] if m.gone else []
    head = f"wrote {output} ({len(m.rows):,} offers)" if done.written else f"{output} was left as it is (--dry-run)"
    return f"{head}: {', '.join(parts)}"


def _refresh_json(done: Refreshed) -> dict[str, Any]:
    m = done.merged
    lists = [
        {
            "list": one.name, "rows_read": one.tally.read, "offers": len(one.cells), "rates": len(one.bands),
            "left_out": [
                {"reason": reason, "rows": count, "examples": one.tally.examples.get(reason, [])}
                for reason, count in one.tally.left_out.most_common()
            ],
            "remarks": one.tally.remarks,
        }
        for one in done.found
    ]  # fmt: skip
    return {
        "written": str(done.written) if done.written else None, "offers": len(m.rows), "lists": lists, "added": m.added,
        "moved": [_plain(x) for x in m.moved], "same": m.same, "held": [_plain(x) for x in m.held],
        "own": [_plain(x) for x in m.kept], "rates": m.rates, "older": m.older, "gone": m.gone,
    }  # fmt: skip


def _changes(changes: tuple[Change, ...], most: int, old: str, new: str) -> NotedTable:
    from polyfleet.cli.terminal import table

    count = {what: sum(c.what == what for c in changes) for what in ("moved", "appeared", "gone")}
    heading = f"{old} -> {new}: {count['moved']:,} moved, {count['appeared']:,} appeared, {count['gone']:,} gone"
    touching = any(c.plans for c in changes)
    ordered = sorted(changes, key=lambda c: not c.plans)
    note = f"{most} of {len(changes):,} rows; --most {len(changes)} shows all" if len(changes) > most else None
    shown = table(heading, ["offer", ">was", ">now", ">times", *(["plans"] if touching else [])], note=note)
    for c in ordered[:most]:
        times = f"{c.factor:.2f}" if c.factor else c.what
        plans = [", ".join(Path(p).name for p in c.plans)] if touching else []
        shown.add_row(c.id, *_was_now(c), times, *plans)
    return shown


def _touched(touched: tuple[Touched, ...]) -> NotedTable:
    from polyfleet.cli.terminal import table

    shown = table("plans", ["plan", ">offers changed", ">rentals $/month", ">at the new prices", "gone"])
    for t in touched:
        shown.add_row(
            t.plan, str(t.changes), f"{t.usd_per_month:,.0f}", f"{t.usd_per_month_now:,.0f}", ", ".join(t.gone) or "-"
        )
    return shown


def _was_now(change: Change) -> tuple[str, str]:
    """Both figures; the rate of interruptions where that has changed."""
    rates = {p.interruptions_per_month for p in (change.was, change.now) if p}
    return _priced(change.was, len(rates) > 1), _priced(change.now, len(rates) > 1)


def _priced(price: Priced | None, with_rate: bool) -> str:
    if price is None:
        return "-"
    if price.usd_input is not None:
        return f"{price.usd_input:.3g} + {price.usd:.3g}/M"
    rate = price.interruptions_per_month
    told = f"{rate:.2g}" if rate is not None else "?"
    return f"{_usd(price.usd)}/h" + (f", {told} lost/month" if with_rate else "")


def _usd(value: float) -> str:
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _plain(value: Any) -> dict[str, Any]:
    from dataclasses import asdict

    plain = asdict(value)
    factor = getattr(value, "factor", None)
    return {**plain, "factor": factor} if factor is not None else plain


def _print_json(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, indent=1))
