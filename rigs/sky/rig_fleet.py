"""A fleet on the rig, as a user would have it: a home, its keeper, its gate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rig import Rig

from polyfleet.launch import ports
from polyfleet.launch.desired import gate_spec
from polyfleet.launch.home import Home
from polyfleet.launch.local import home_hash
from polyfleet.launch.processes import end_all
from polyfleet.settings import Settings
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState

READY = ReplicaState.READY
TEXT = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 24, "temperature": 0}


class Fleet:
    """A home whose keeper is a process, the one that `up` starts."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self.folder = folder
        self.home = Home.of(Settings(folder))
        self._environment = rig.environment | {"POLYFLEET_HOME": str(folder), "POLYFLEET_STATE": self.home.state_url}
        self._log = (folder / "keep.log").open("ab")
        self.state = self.home.state()
        self.gate = gate_spec(ports.free_port(), self.home.routes_file, self.home.public_state_url)
        self.keeper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gate.port}/v1"

    def want(self, specs: Sequence[ReplicaSpec], *, gate: bool = True) -> None:
        self.state.want((*specs, *((self.gate,) if gate else ())), "rig")
        self.keep()

    def keep(self) -> None:
        if self.keeper is None or self.keeper.poll() is not None:
            command = [sys.executable, "-m", "polyfleet.launch"]
            self.keeper = subprocess.Popen(command, env=self._environment, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        assert self.keeper is not None
        assert self.keeper.poll() is None, f"the keeper ended by itself with {self.keeper.returncode}"
        self.keeper.kill()
        self.keeper.wait()

    def replicas(self) -> dict[str, Replica]:
        return self.state.replicas()

    def are_ready(self, specs: Sequence[ReplicaSpec]) -> bool:
        assert self.keeper is None or self.keeper.poll() is None, f"the keeper ended with {self.keeper.returncode}"
        known = self.replicas()
        return all(s.id in known and known[s.id].state is READY and known[s.id].spec.digest == s.digest for s in specs)

    def routes(self) -> dict[str, str]:
        """Open ones, by id."""
        try:
            told = json.loads(self.home.routes_file.read_text())["routes"]
        except FileNotFoundError:
            return {}
        return {route["id"]: route["url"] for route in told if route["state"] == "open"}

    def facts(self) -> list[dict[str, str]]:
        """Refusals that are kept."""
        path = self.folder / "run" / "sky" / "refusals.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def key(self) -> dict[str, str]:
        from polyfleet.database import open_database
        from polyfleet.gate.keys.store import create_key

        return {"Authorization": f"Bearer {create_key(open_database(self.home.state_url), 'rig', admin=True)}"}

    def close(self) -> None:
        if self.keeper is not None and self.keeper.poll() is None:
            self.kill()
        self._log.close()
        end_all(f"{home_hash(self.folder)}/", 1.0)

    def down(self, timeout_s: float = 600.0) -> None:
        self.state.close()
        self.keep()
        assert self.keeper is not None
        assert self.keeper.wait(timeout_s) == 0, f"the keeper ended with {self.keeper.returncode}"


@contextmanager
def fleet_of(folder: Path, rig: Rig) -> Iterator[Fleet]:
    made = Fleet(folder, rig)
    try:
        yield made
    finally:
        made.close()
