"""`polyfleet keys`: who may use the endpoint, for how much."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from polyfleet.cli.state import StateUrl

if TYPE_CHECKING:
    from polyfleet.gate.keys import KeyFacts

keys = typer.Typer(
    help="Add, list, change and revoke the keys of the endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; tables and metrics show this name.")],
    budget: Annotated[str | None, typer.Option(help="The most that it may use, such as 50usd.")] = None,
    per: Annotated[str | None, typer.Option(help="The budget is anew after each such time, such as 30d.")] = None,
    rate: Annotated[str | None, typer.Option(help="The most requests, such as 600rpm or 10/s.")] = None,
    tokens: Annotated[str | None, typer.Option(help="The most tokens in and out, such as 100k/min.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="Models that it may ask for; default: all.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may also steer the gate.")] = False,
    state: StateUrl = None,
) -> None:
    """Make a key and print it: the only time that it is shown."""
    from polyfleet.cli.state import open_state

    limits = {
        "budget_usd": _read("--budget", budget, _usd),
        "per_s": _read("--per", per, _seconds),
        "rate_requests_per_min": _read("--rate", rate, _per_minute),
        "rate_tokens_per_min": _read("--tokens", tokens, _per_minute),
    }
    asked = _models(models)
    with open_state(state) as engine:
        from polyfleet.gate.keys import create_key

        typer.echo(create_key(engine, name, models=asked, admin=admin, **limits))
    typer.echo("this is the only time that the key is shown", err=True)


@keys.command("list")
def list_(
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those that were revoked.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    state: StateUrl = None,
) -> None:
    """Show the keys by name, with what is left to them."""
    from polyfleet.cli.state import open_state

    with open_state(state) as engine:
        from polyfleet.gate.keys import list_keys

        found = list_keys(engine, revoked=revoked)
    if as_json:
        import json

        typer.echo(json.dumps([_plain(facts) for facts in found], indent=1))
        return
    from polyfleet.cli.terminal import console, table

    columns = ["name", "", "models", ">used", ">budget", "anew", ">requests", ">tokens", "since"]
    shown = table(f"{len(found)} keys", columns)
    for facts in found:
        shown.add_row(*_row(facts))
    console().print(shown)


@keys.command()
def change(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    budget: Annotated[str | None, typer.Option(help="The most that it may use, such as 50usd; none: no limit.")] = None,
    per: Annotated[str | None, typer.Option(help="The time of a budget, such as 30d; none: once and for all.")] = None,
    rate: Annotated[str | None, typer.Option(help="The most requests, such as 600rpm; none: no limit.")] = None,
    tokens: Annotated[str | None, typer.Option(help="The most tokens, such as 100k/min; none: no limit.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="Models that it may ask for; all: every one.")] = None,
    state: StateUrl = None,
) -> None:
    """Change what is given; what was used stays used, and gates hear of it within a second."""
    from polyfleet.cli.state import open_state

    named = _models(models)
    with open_state(state) as engine:
        from polyfleet.gate.keys import Limit, change_key

        def limit(option: str, text: str | None, reader: Callable[[str], float]) -> Limit | None:
            if text is None:
                return None
            return Limit(None if text.strip().casefold() == "none" else _read(option, text, reader))

        change_key(
            engine, name, budget_usd=limit("--budget", budget, _usd), per_s=limit("--per", per, _seconds),
            rate_requests_per_min=limit("--rate", rate, _per_minute),
            rate_tokens_per_min=limit("--tokens", tokens, _per_minute),
            models=None if models is None else [] if named == ["all"] else named,
        )  # fmt: skip
    typer.echo(f"changed {name}")


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    state: StateUrl = None,
) -> None:
    """From within a second on, no gate lets this key in."""
    from polyfleet.cli.state import open_state

    with open_state(state) as engine:
        from polyfleet.gate.keys import revoke_key

        revoke_key(engine, name)
    typer.echo(f"revoked {name}")


def _row(facts: KeyFacts) -> list[str]:
    limits = {budget.kind: budget for budget in facts.budgets}
    usd = limits.get("usd")
    return [
        facts.name,
        "revoked" if facts.revoked_at else "admin" if facts.admin else "",
        ", ".join(sorted(facts.models)) or "all",
        f"${usd.used / 1e9:,.4f}" if usd else "",
        f"${usd.limit / 1e9:,.2f}" if usd else "",
        _date(usd.ends_at) if usd and usd.ends_at else "",
        f"{limits['requests'].limit:,}/min" if "requests" in limits else "",
        f"{limits['tokens'].limit:,}/min" if "tokens" in limits else "",
        _date(facts.created_at),
    ]


def _plain(facts: KeyFacts) -> dict[str, object]:
    limits = {budget.kind: budget for budget in facts.budgets}
    usd = limits.get("usd")
    return {
        "id": facts.id, "name": facts.name, "models": sorted(facts.models), "admin": facts.admin,
        "created_at": facts.created_at, "revoked_at": facts.revoked_at,
        "budget_usd": usd and usd.limit / 1e9, "used_usd": usd and usd.used / 1e9, "per_s": usd and usd.per_s,
        "period_ends_at": usd and usd.ends_at,
        "requests_per_min": limits["requests"].limit if "requests" in limits else None,
        "tokens_per_min": limits["tokens"].limit if "tokens" in limits else None,
    }  # fmt: skip


def _date(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _models(given: list[str] | None) -> list[str]:
    return [model for many in given or () for model in many.replace(",", " ").split()]


def _read(option: str, text: str | None, reader: Callable[[str], float]) -> float | None:
    """A quantity of the command line. Raises InputError that names the option."""
    from polyfleet.errors import InputError

    if text is None:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def _usd(text: str) -> float:
    from polyfleet.terms.units import parse_count

    bare = re.sub(r"\s*usd\s*$|^\s*\$", "", text, flags=re.IGNORECASE)
    try:
        return parse_count(bare)
    except ValueError:
        raise ValueError(f"not money: {text[:40]!r}; write an amount such as 50usd") from None


def _seconds(text: str) -> float:
    from polyfleet.terms.units import parse_seconds

    return parse_seconds(text)


def _per_minute(text: str) -> float:
    from polyfleet.terms.units import parse_per_second

    return parse_per_second(re.sub(r"\s*[rt]pm\s*$", "/min", text, flags=re.IGNORECASE)) * 60
