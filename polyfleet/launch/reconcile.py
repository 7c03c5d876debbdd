"""One step from what runs towards what is wanted. Pure: everything it knows is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from polyfleet.launch.driver import Alive
from polyfleet.terms.fleet import HERE, Replica, ReplicaSpec, ReplicaState

GATE = "gate"
"""The engine and id of the gate, which is kept running like a replica."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently. All in seconds.

    `delays_s[n]` passes before the start after the n-th death in a row; past its end a replica is failing, and tried
    every `failing_s`. `steady_s` of readiness forgive earlier deaths. A drain lasts at least `settle_s`, so that the
    gate has heard of it, and at most `drain_s`, or `unknown_drain_s` where nobody tells what is in it. What does not
    answer for `hang_s` once it was ready (`hang_elsewhere_s` where it is not on this machine: what lies between may be
    broken, and a machine takes long to come back), or for its spec's `start_s` before that, is ended and started anew.
    What differs from what is wanted and has been starting for `unready_s` serves nothing, and is replaced at once.
    `handover_s`: so long all that is wanted no more waits for what takes its place. `grace_s` is left between asking to
    end and forcing it, `gate_grace_s` for the gate, which lets its streams finish.
    """

    delays_s: tuple[float, ...] = (0.0, 0.5, 2.0)
    failing_s: float = 60.0
    steady_s: float = 60.0
    settle_s: float = 1.0
    drain_s: float = 30.0
    unknown_drain_s: float = 5.0
    hang_s: float = 60.0
    hang_elsewhere_s: float = 600.0
    unready_s: float = 10.0
    handover_s: float = 900.0
    grace_s: float = 5.0
    gate_grace_s: float = 35.0

    def delay_s(self, deaths: int) -> float:
        return self.delays_s[deaths - 1] if deaths <= len(self.delays_s) else self.failing_s

    def is_failing(self, deaths: int) -> bool:
        return deaths > len(self.delays_s)


@dataclass(frozen=True, slots=True)
class View:
    """What is known at one moment, by replica id.

    `silent_s`: how long it has not answered its health check, 0 where the last one was answered; absent where none was
    made yet. `busy`: requests in it, None or absent where unknown. `stopping`: those being ended now. `now`: UTC
    seconds.
    """

    wanted: tuple[ReplicaSpec, ...]
    known: Mapping[str, Replica]
    alive: Mapping[str, Alive]
    now: float
    silent_s: Mapping[str, float] = field(default_factory=dict)
    busy: Mapping[str, int | None] = field(default_factory=dict)
    stopping: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """What is then known, what to start, and what to end (with its grace in seconds). `died`: ids whose process was
    found gone: their log's last lines are worth keeping."""

    replicas: Mapping[str, Replica]
    start: tuple[ReplicaSpec, ...] = ()
    stop: tuple[tuple[Replica, float], ...] = ()
    died: tuple[str, ...] = ()


def reconcile(view: View, pace: Pace) -> Step:
    """The next step. Applied again and again it comes to rest where every wanted replica is ready and no other runs,
    whatever was forgotten, killed or started meanwhile."""
    wanted = {spec.id: spec for spec in view.wanted}
    replicas: dict[str, Replica] = {}
    start: list[ReplicaSpec] = []
    stop: list[tuple[Replica, float]] = []
    died: list[str] = []
    changing, staying = _changing(view, pace, wanted), _staying(view, pace, wanted)
    for replica_id in dict.fromkeys((*wanted, *view.known, *view.alive)):
        spec, alive, known = wanted.get(replica_id), view.alive.get(replica_id), view.known.get(replica_id)
        if alive is not None:
            kept = spec if replica_id not in changing else None
            kept = alive.spec if replica_id in staying else kept
            replica = _living(view, pace, alive, known, kept)
            replicas[replica_id] = replica
            if replica_id not in view.stopping and _must_end(view, pace, replica, wanted):
                stop.append((replica, pace.gate_grace_s if replica.spec.engine == GATE else pace.grace_s))
            continue
        if spec is None or replica_id in view.stopping:
            continue
        replica = _absent(spec, known, view.now, pace)
        if known is not None and known.pid is not None and known.state is not ReplicaState.DRAINING:
            died.append(replica_id)
        if replica.state is ReplicaState.STARTING:
            start.append(spec)
        replicas[replica_id] = replica
    return Step(replicas, tuple(start), tuple(stop), tuple(died))


def _changing(view: View, pace: Pace, wanted: Mapping[str, ReplicaSpec]) -> frozenset[str]:
    """Replicas that may be taken down to become what is wanted: one of a workload at a time, and only while its others
    are ready; besides, those that serve nothing, because they do not get ready as they are."""
    chosen: set[str] = set()
    for ids in _by_workload(wanted.values()).values():
        differing = [i for i in ids if i in view.alive and _differ(view.alive[i].spec, wanted[i])]
        draining = [i for i in differing if i in view.known and view.known[i].state is ReplicaState.DRAINING]
        unready = [i for i in differing if i not in view.known or view.known[i].state is not ReplicaState.READY]
        first = (draining or unready or differing)[:1]
        if first and all(_is_ready(view.known.get(i)) for i in ids if i not in first):
            chosen.update(first)
        chosen.update(i for i in differing if _serves_nothing(view, pace, i))
    return frozenset(chosen)


def _serves_nothing(view: View, pace: Pace, replica_id: str) -> bool:
    """Whether it has been starting for longer than one that was just taken over, and answers, would; then it drains,
    and still does not answer."""
    known = view.known.get(replica_id)
    if known is None or view.silent_s.get(replica_id, 0.0) == 0:
        return False
    return known.state is ReplicaState.DRAINING or (
        known.state is ReplicaState.STARTING and view.now - known.since >= pace.unready_s
    )


def _staying(view: View, pace: Pace, wanted: Mapping[str, ReplicaSpec]) -> frozenset[str]:
    """Replicas that are wanted no more and go on serving until those that take their place are ready.

    All of a workload's do while one that is wanted is not ready: they may differ in what they carry. Where one has not
    come for `handover_s`, as many go as others stand ready for, one for one: they may hold what it waits for.
    """
    stay: set[str] = set()
    new = _by_workload(wanted.values())
    old = _by_workload(a.spec for i, a in view.alive.items() if i not in wanted and a.spec.workload in new)
    for workload, ids in old.items():
        serving = [i for i in ids if i in view.known and view.known[i].state is ReplicaState.READY]
        missing = [view.known.get(i) for i in new[workload] if not _is_ready(view.known.get(i))]
        late = any(m is not None and view.now - m.since >= pace.handover_s for m in missing)
        stay.update(serving[: len(missing)] if late else serving if missing else ())
    return frozenset(stay)


def _is_ready(replica: Replica | None) -> bool:
    return replica is not None and replica.state is ReplicaState.READY


def _by_workload(specs: Iterable[ReplicaSpec]) -> dict[str, list[str]]:
    """Ids by workload."""
    found: dict[str, list[str]] = {}
    for spec in specs:
        found.setdefault(spec.workload, []).append(spec.id)
    return found


def _differ(one: ReplicaSpec, other: ReplicaSpec) -> bool:
    """Whether a replica must be started anew to become the other. Most are equal, which is cheaper to see."""
    return one != other and one.digest != other.digest


def _living(view: View, pace: Pace, alive: Alive, known: Replica | None, kept: ReplicaSpec | None) -> Replica:
    """A replica whose process runs: taken over where it was not known, then as its health says. `kept`: what it is
    wanted as, None where it has to go."""
    same = known is not None and (known.pid, known.process_started) == (alive.pid, alive.process_started)
    if known is None or not same:
        deaths = known.restarts if known is not None else 0
        known = Replica(
            spec=alive.spec, state=ReplicaState.STARTING, pid=alive.pid, process_started=alive.process_started,
            url=alive.url, restarts=deaths, since=view.now, last_lines=known.last_lines if known else (),
        )  # fmt: skip
    answers = view.silent_s.get(alive.spec.id) == 0
    if kept is None:
        return _in_state(known, ReplicaState.DRAINING, view.now)
    if kept != known.spec and kept.digest == known.spec.digest:  # only its price changed
        known = known.model_copy(update={"spec": kept})
    if known.state is ReplicaState.READY:
        steady = view.now - known.since >= pace.steady_s
        return known.model_copy(update={"restarts": 0, "last_lines": ()}) if steady and known.restarts else known
    told = (alive.trouble,) if alive.trouble else known.last_lines if known.restarts else ()
    known = known if known.last_lines == told else known.model_copy(update={"last_lines": told})
    return _in_state(known, ReplicaState.READY if answers else ReplicaState.STARTING, view.now)


def _must_end(view: View, pace: Pace, replica: Replica, wanted: Mapping[str, ReplicaSpec]) -> bool:
    """Whether to end it now: drained, or hanging."""
    replica_id, age_s = replica.spec.id, view.now - replica.since
    silent_s = view.silent_s.get(replica_id, 0.0)
    if replica.state is ReplicaState.READY and replica.spec.place != HERE:
        return silent_s >= pace.hang_elsewhere_s and not _is_cut_off(view, pace)
    if replica.state is not ReplicaState.DRAINING:
        return silent_s >= (pace.hang_s if replica.state is ReplicaState.READY else replica.spec.start_s)
    if replica.spec.engine == GATE:
        return True
    if GATE in view.alive and GATE not in wanted:
        return False  # its streams still come through the gate
    if age_s < pace.settle_s:
        return False
    busy = view.busy.get(replica_id)
    limit_s = pace.unknown_drain_s if busy is None else pace.drain_s
    return busy == 0 or silent_s >= pace.settle_s or age_s >= limit_s


def _is_cut_off(view: View, pace: Pace) -> bool:
    """Whether all of several replicas elsewhere are silent: then it is this machine's network, and they may well serve
    others. Ending them would make it worse."""
    ready = [i for i, r in view.known.items() if r.state is ReplicaState.READY and r.spec.place != HERE]
    return len(ready) > 1 and all(view.silent_s.get(i, 0.0) >= pace.hang_s for i in ready if i in view.alive)


def _absent(spec: ReplicaSpec, known: Replica | None, now: float, pace: Pace) -> Replica:
    """A wanted replica that does not run: STARTING where it is to be started now, else as it waits."""
    if known is None or _differ(known.spec, spec):
        return Replica(spec=spec, state=ReplicaState.STARTING, since=now)
    deaths, since = known.restarts, known.since
    if known.pid is not None and known.state is not ReplicaState.DRAINING:
        deaths, since = deaths + 1, now
    if deaths and now - since < pace.delay_s(deaths):
        state = ReplicaState.FAILING if pace.is_failing(deaths) else ReplicaState.STOPPED
        return Replica(spec=spec, state=state, restarts=deaths, since=since, last_lines=known.last_lines)
    return Replica(spec=spec, state=ReplicaState.STARTING, restarts=deaths, since=now, last_lines=known.last_lines)


def _in_state(replica: Replica, state: ReplicaState, now: float) -> Replica:
    return replica if replica.state is state else replica.model_copy(update={"state": state, "since": now})
