"""What every verb prints with: a console of at most 100 columns, tables, and progress on stderr.

Verbs import this inside their functions, so that `--help` does not pay for loading rich.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

WIDTH = 100


class NotedTable(Table):
    """A table with a heading above and a note below it that may be wider than the table."""

    heading: str = ""
    note: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.heading, style="bold")
        yield from super().__rich_console__(console, options)
        if self.note:
            yield Text(self.note + "\n", style="dim")


def console() -> Console:
    """Standard output. A pipe gets the full width; a narrower terminal its own."""
    shown = Console()
    width = min(shown.width, WIDTH) if shown.is_terminal else WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)  # names are the user's: never markup


def table(title: str, columns: Sequence[str], *, note: str | None = None) -> NotedTable:
    """An empty table. A column name that starts with `>` is aligned right."""
    made = NotedTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    made.heading, made.note = title, note
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return made


@contextmanager
def progress(first: str) -> Iterator[Callable[[str], None]]:
    """Tell what is being done, on stderr, while it runs: a spinner on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    with Console(stderr=True).status(first) as status:
        yield status.update
