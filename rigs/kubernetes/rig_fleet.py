"""A fleet on the rig, as a user would have it: a home, its keeper, its gate."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
from lightkube import Client
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import ConfigMap, Node, Pod
from servers import Plane

from polyfleet.launch import ports
from polyfleet.launch.desired import gate_spec
from polyfleet.launch.home import Home
from polyfleet.settings import Settings
from polyfleet.terms.fleet import ReplicaSpec, ReplicaState

HERE = Path(__file__).parent
READY = ReplicaState.READY
TEXT = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 24, "temperature": 0}


class Fleet:
    """A home whose keeper is a process, as `up` leaves it."""

    def __init__(self, folder: Path, plane: Plane, contexts: Sequence[str]) -> None:
        self.home = Home.of(Settings(folder))
        self._command = [
            sys.executable,
            "-X",
            "faulthandler",
            HERE / "keep.py",
            folder,
            plane.folder / "ann.yaml",
            *contexts,
        ]
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
            self.keeper = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        assert self.keeper is not None
        assert self.keeper.poll() is None, f"the keeper ended by itself with {self.keeper.returncode}"
        self.keeper.kill()
        self.keeper.wait()

    def has_ended(self) -> bool:
        """Whether the keeper is done, as it should be once nothing is wanted."""
        assert self.keeper is not None
        assert self.keeper.poll() in (None, 0), f"the keeper ended with {self.keeper.returncode}"
        return self.keeper.poll() == 0

    def are_ready(self, specs: Sequence[ReplicaSpec]) -> bool:
        assert self.keeper is None or self.keeper.poll() is None, f"the keeper ended with {self.keeper.returncode}"
        known = self.state.replicas()
        return all(s.id in known and known[s.id].state is READY and known[s.id].spec.digest == s.digest for s in specs)

    def routes(self) -> dict[str, str]:
        """Open ones, by id."""
        try:
            told = json.loads(self.home.routes_file.read_text())["routes"]
        except FileNotFoundError:
            return {}
        return {route["id"]: route["url"] for route in told if route["state"] == "open"}

    def key(self) -> dict[str, str]:
        from polyfleet.database import open_database
        from polyfleet.gate.keys.store import create_key

        return {"Authorization": f"Bearer {create_key(open_database(self.home.state_url), 'rig', admin=True)}"}

    def close(self) -> None:
        if self.keeper is not None and self.keeper.poll() is None:
            self.kill()
        self._log.close()

    def down(self) -> None:
        self.state.close()
        self.keep()
        assert self.keeper is not None
        assert self.keeper.wait(120) == 0, f"the keeper ended with {self.keeper.returncode}"


@contextmanager
def fleet_of(folder: Path, plane: Plane, contexts: Sequence[str]) -> Iterator[Fleet]:
    made = Fleet(folder, plane, contexts)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def asked_all_the_while(fleet: Fleet) -> Iterator[list[tuple[int, str]]]:
    """Four clients that ask again and again: each answer's status (0: none), and what it says where that is not 200."""
    headers, ended, answers = fleet.key(), threading.Event(), []

    def ask() -> None:
        with httpx2.Client(timeout=60) as client:
            while not ended.is_set():
                try:
                    answer = client.post(f"{fleet.url}/completions", json=TEXT, headers=headers)
                    answers.append((answer.status_code, "" if answer.status_code == 200 else answer.text))
                except httpx2.HTTPError as error:
                    answers.append((0, repr(error)))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        yield answers
    finally:
        ended.set()
        for asker in askers:
            asker.join()


def open_only(admin: Client, *nodes: str) -> None:
    """Of the nodes with H100s, pods are scheduled to these alone."""
    for name in ("h100-a", "h100-b"):
        admin.patch(Node, name, {"spec": {"unschedulable": name not in nodes}})


def left(admin: Client, namespace: str) -> list[str]:
    """What is in a namespace that a fleet could have made."""
    found = [
        (kind.__name__, one.metadata.name)
        for kind in (Deployment, ReplicaSet, Pod, ConfigMap)
        for one in admin.list(kind, namespace=namespace)
    ]
    return [f"{kind} {name}" for kind, name in found if name != "kube-root-ca.crt"]


def pods(admin: Client, namespace: str) -> dict[str, list[str]]:
    """Pods that are not on their way out, by replica."""
    found: dict[str, list[str]] = {}
    for pod in admin.list(Pod, namespace=namespace):
        if not pod.metadata.deletionTimestamp:
            found.setdefault(pod.metadata.labels["polyfleet/replica"], []).append(pod.metadata.name)
    return found


class ReadyTimes:
    """When the API server told, to somebody beside the fleet, that a pod's address became ready."""

    def __init__(self, admin: Client, namespace: str) -> None:
        self.at: dict[str, float] = {}
        self._watch = admin.watch(Pod, namespace=namespace, server_timeout=300)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        with suppress(Exception):  # it ends with the API server
            for _, pod in self._watch:
                ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())
                if ready and pod.status.podIP not in self.at:
                    self.at[pod.status.podIP] = time.monotonic()


def host(url: str) -> str:
    return url.removeprefix("http://").partition(":")[0]
