"""What is wrong with a command line, in one line with what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import typer

# The library carries its own copy of click or uses the installed one, by version: its public class leads to either.
UsageError: type[Any] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "UsageError")
_PLAINER = (
    (r"Value error, ", ""),
    (r"Input should be a valid (?:integer|number), unable .*", "it must be a number"),
    (r"Input should be ", "it must be "),
    (r"greater than or equal to", "at least"),
    (r"less than or equal to", "at most"),
    # The library's own guesses: ours replace them.
    (r"\s*\(Possible options:.*|\s*\(?Did you mean.*", ""),
)


def told(error: Any, arguments: Sequence[str]) -> str:
    """A usage error in one line: what is wrong, the value, what was probably meant, where the help is. `arguments` are
    those of the command line."""
    verb = next(iter(arguments), "")
    place = error.ctx.command_path if error.ctx else f"polyfleet {verb}".strip()
    message = " ".join(error.format_message().split())
    near = _near(error, message)
    for pattern, plain in _PLAINER:
        message = re.sub(pattern, plain, message)
    message = message.rstrip(".")
    value = _value_of(getattr(error, "param", None), arguments)
    got = f" (got {value!r})" if value is not None and repr(value) not in message else ""
    meant = f"did you mean `{near}`? " if near else ""
    return f"{place}: {message[:1].lower()}{message[1:]}{got}; {meant}see `{place} --help`"


def _near(error: Any, message: str) -> str | None:
    """The option, command or choice closest to what was written."""
    command = error.ctx.command if error.ctx else None
    if option := getattr(error, "option_name", None):
        return _closest(str(option), [name for p in getattr(command, "params", ()) for name in p.opts])
    if verb := re.match(r"No such command '([^']*)'", message):
        return _closest(verb[1], list(getattr(command, "commands", {})))
    if choice := re.search(r"'([^']*)' is not one of (.*)", message):
        return _closest(choice[1], re.findall(r"'([^']*)'", choice[2]))
    return None


def _closest(written: str, known: Sequence[str]) -> str | None:
    if written in known:
        return None
    begun = sorted(name for name in known if len(written.strip("-")) > 1 and name.startswith(written))
    near = begun or get_close_matches(written, known, n=1, cutoff=0.6)
    return near[0] if near else None


def _value_of(parameter: Any, arguments: Sequence[str]) -> str | None:
    """What was written for an option; None where the error is about none, or nothing was."""
    names = [name for name in getattr(parameter, "opts", ()) if name.startswith("-")]
    for at, written in enumerate(arguments):
        name, equals, value = written.partition("=")
        if name in names:
            return value if equals else next(iter(arguments[at + 1 : at + 2]), None)
    return None
