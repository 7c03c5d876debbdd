#!/usr/bin/env python3
"""Run every command that README.md and docs/*.md show, and put its true output below it.

A command stands in a `console` block as `$ polyfleet ...`; what follows, up to the next `$` or the end of the block, is
its output. Commands run in the order in which they stand, in a copy of the repository's examples, so that one may
read what an earlier one wrote. A command that is meant to fail says so: `$ polyfleet ...  # exit 2`.

usage: refresh_docs.py [--check] [FILE ...]     --check: only run them, and fail where an exit code differs
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEY = re.compile(r"(pf-[\w-]{4})[\w-]{20,}")
"""A key that a command shows once: a document shows its beginning."""
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
MOST_LINES = 60


@dataclass(frozen=True)
class Shown:
    """A command as the docs show it, and the exit code that they promise."""

    line: str
    code: int

    @property
    def arguments(self) -> str:
        return self.line.split("#")[0].removeprefix("$ polyfleet").strip()


def shown_commands(text: str) -> Iterator[Shown]:
    """The commands of a document, in order."""
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ polyfleet"):
                meant = re.search(r"#\s*exit (\d+)", line)
                yield Shown(line, int(meant[1]) if meant else 0)


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def playground(folder: Path) -> Path:
    """A folder with what the commands read."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def run(shown: Shown, folder: Path) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m polyfleet {shown.arguments}"
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def nothing_left(text: str, folder: Path) -> Iterator[None]:
    """Takes down what a document's commands started, also where one of them failed."""
    try:
        yield
    finally:
        if "$ polyfleet up" in text:
            run(Shown("$ polyfleet down", 0), folder)


def refreshed(text: str, folder: Path, faults: list[str]) -> str:
    """The document with every output made anew; wrong exit codes are added to `faults`."""

    def block(match: re.Match[str]) -> str:
        lines = [shown.line + "\n" + _output(shown, folder, faults) for shown in shown_commands(match[0])]
        return "```console\n" + "\n".join(lines).rstrip() + "\n```" if lines else match[0]

    return BLOCK.sub(block, text)


def _output(shown: Shown, folder: Path, faults: list[str]) -> str:
    done = run(shown, folder)
    if done.returncode != shown.code:
        faults.append(f"{shown.line}: exit {done.returncode}, {done.stderr.strip()[-300:]}")
    said = KEY.sub(r"\1...", done.stdout + done.stderr)
    lines = [line.rstrip() for line in said.strip("\n").splitlines()]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"... ({len(lines) - MOST_LINES + 1} more lines)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    faults: list[str] = []
    for path in arguments.files or documents():
        with tempfile.TemporaryDirectory() as folder:
            text = path.read_text(encoding="utf-8")
            with nothing_left(text, Path(folder)):
                new = refreshed(text, playground(Path(folder)), faults)
            if not arguments.check and new != text:
                path.write_text(new, encoding="utf-8")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
