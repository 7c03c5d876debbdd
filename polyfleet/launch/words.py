"""What a log says about a death."""

from __future__ import annotations

from collections.abc import Sequence

STARTING = "polyfleet: starting"
"""First words of the line that divides one life of a replica from the next in its log."""
OWN = "polyfleet: "
"""First words of lines that polyfleet writes into an engine's log."""


def last_life(lines: Sequence[str]) -> list[str]:
    """The lines of a log since the replica was last started."""
    starts = [at for at, line in enumerate(lines) if line.startswith(STARTING)]
    return list(lines[starts[-1] + 1 :] if starts else lines)


def reason(lines: Sequence[str]) -> str:
    """The line that most likely tells why: the first that speaks of an error, else the engine's last, else how it
    ended; empty where there are none."""
    theirs = [line for line in lines if not line.startswith(OWN) and line.strip()]
    wrong = [line for line in theirs if "error" in line.casefold()]
    found = wrong[:1] or theirs[-1:] or list(lines[-1:])
    return found[0].removeprefix(OWN).strip() if found else ""
