"""How a home fares, as one looks: what the keeper wrote down, and what replicas say of themselves now."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from polyfleet.launch.engines import ENGINES
from polyfleet.launch.home import Home, keeper_runs
from polyfleet.launch.reconcile import GATE
from polyfleet.launch.watch import fetch, metrics_of
from polyfleet.terms.fleet import ENDPOINT, Replica, ReplicaState

_TIMEOUT_S = 2.0
_BETWEEN_S = 0.5
_ATTEMPTS = re.compile(r'^polyfleet_attempts_total\{[^}]*\broute="([^"]*)"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What a replica does now; None where its engine does not tell. `requests`: since the gate started."""

    requests: int | None = None
    running: int | None = None
    waiting: int | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Fared:
    """A replica and its load. `age_s`: seconds in its state."""

    replica: Replica
    load: Load
    age_s: float

    @property
    def row(self) -> dict[str, object]:
        """Plain values, for JSON."""
        replica, spec = self.replica, self.replica.spec
        return {
            "id": spec.id, "workload": spec.workload, "engine": spec.engine, "weights": spec.weights,
            "place": spec.place, "offer": spec.offer, "usd_per_hour": spec.usd_per_hour, "state": replica.state.value,
            "age_s": round(self.age_s, 1), "restarts": replica.restarts, "pid": replica.pid, "url": replica.url,
            "requests": self.load.requests, "running": self.load.running, "waiting": self.load.waiting,
            "tokens_per_s": self.load.tokens_per_s, "last_lines": list(replica.last_lines),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Status:
    """All of a home. `keeper`: whether one holds it; where none does, nothing that dies comes back."""

    keeper: bool
    endpoint: str | None
    fared: tuple[Fared, ...]


def look(home: Home) -> Status:
    """The home as it is now; takes about half a second, in which tokens are counted."""
    state = home.state()
    replicas = state.replicas()
    gate = replicas.get(GATE)
    order = {spec.id: place for place, spec in enumerate(state.wanted().specs)}
    shown = sorted((r for r in replicas.values() if r.spec.engine != GATE), key=lambda r: order.get(r.spec.id, 1 << 30))
    loads = _loads(shown, gate)
    now = time.time()
    fared = tuple(Fared(r, loads[r.spec.id], max(now - r.since, 0.0)) for r in shown)
    ready = gate is not None and gate.state is ReplicaState.READY
    return Status(keeper_runs(home), f"{gate.url}/v1" if ready and gate is not None else None, fared)


def _loads(replicas: Sequence[Replica], gate: Replica | None) -> Mapping[str, Load]:
    with ThreadPoolExecutor(16) as pool:
        first, begun = list(pool.map(_page, replicas)), time.monotonic()
        requests = _requests(gate)
        if any(first):
            time.sleep(_BETWEEN_S)
        second = list(pool.map(_page, replicas))
        between_s = time.monotonic() - begun
    return {
        replica.spec.id: _load(replica, before, after, between_s, requests.get(replica.spec.id))
        for replica, before, after in zip(replicas, first, second, strict=True)
    }


def _load(replica: Replica, before: str, after: str, between_s: float, requests: int | None) -> Load:
    engine = ENGINES[replica.spec.engine]
    names = (engine.running, engine.waiting, engine.tokens)
    then, now = metrics_of(before, *names), metrics_of(after, *names)
    rate = None
    if engine.tokens in then and engine.tokens in now:
        rate = round(max(now[engine.tokens] - then[engine.tokens], 0.0) / between_s, 1)
    running, waiting = (int(now[n]) if n in now else None for n in (engine.running, engine.waiting))
    return Load(requests, running, waiting, rate)


def _page(replica: Replica) -> str:
    """A replica's metrics; empty where it does not answer."""
    if replica.url is None or replica.spec.place == ENDPOINT or ENGINES[replica.spec.engine].running is None:
        return ""
    try:
        return fetch(replica.url, "/metrics", _TIMEOUT_S) or ""
    except OSError:
        return ""


def _requests(gate: Replica | None) -> Mapping[str, int]:
    """Attempts by route, as the gate counts them."""
    try:
        page = fetch(gate.url, "/metrics", _TIMEOUT_S) if gate and gate.url else None
    except OSError:
        page = None
    counted: dict[str, int] = {}
    for route, figure in _ATTEMPTS.findall(page or ""):
        counted[route] = counted.get(route, 0) + int(float(figure))
    return counted
