"""A stand-in engine as a replica, and the oracle of what runs."""

import sys
import time
from pathlib import Path

from polyfleet.terms.fleet import ReplicaSpec

ENGINE = Path(__file__).with_name("engine.py")


def bearing(text: str) -> dict[int, str]:
    """The oracle: pids whose environment holds a text, with their mark. Its own scan, not the driver's."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                raw = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            marks = [line.partition("=")[2] for line in raw if line.startswith("POLYFLEET_REPLICA=")]
            if marks and text in marks[0] and not dead:
                found[int(entry.name)] = marks[0]
    return found


def eventually(what, seconds=10.0):
    """Wait until `what()` is true; gives it, or fails."""
    deadline = time.monotonic() + seconds
    while not (seen := what()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return seen


def toy(name="chat-0", *options, **changes):
    """A replica of the stand-in engine."""
    command = (sys.executable, str(ENGINE), "--port", "{port}", *options)
    given = {"id": name, "workload": "chat", "served": ("chat",), "engine": "command", "weights": "w"}
    return ReplicaSpec(**given | {"command": command} | changes)
