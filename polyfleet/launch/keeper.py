"""The keeper: the resident process that makes what is wanted what runs, until nothing is wanted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from polyfleet.errors import LaunchError, PolyfleetError
from polyfleet.files import write_whole
from polyfleet.launch.driver import Driver, StillThereError
from polyfleet.launch.reconcile import GATE, Pace, View, reconcile
from polyfleet.launch.routes import routes_of
from polyfleet.launch.state import KeeperSeen, State, Wanted
from polyfleet.launch.watch import Watch
from polyfleet.launch.words import last_life, reason
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState

_LOG = logging.getLogger("polyfleet.keeper")
_TICK_S = 0.5
_QUICK_TICK_S = 0.1
"""While something starts or drains."""
_SIGN_EVERY_S = 2.0
_COMPLAIN_EVERY_S = 60.0
_START_S = 1.0
"""So long one round may go on starting replicas before it looks at the others again."""
_LINES_KEPT = 8


class Keeper:
    """Looks, decides, acts, writes down: one `tick` after another.

    What it has not written down when it dies is found again by the driver; what it wrote down and did not do is seen
    to be missing. `routes_file` is written whole whenever a route changes.
    """

    def __init__(
        self,
        state: State,
        driver: Driver,
        routes_file: Path,
        *,
        watch: Watch | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
        pid: int = 0,
    ) -> None:
        self._state, self._driver, self._routes_file = state, driver, routes_file
        self._watch, self._pace, self._clock, self._pid = watch or Watch(), pace or Pace(), clock, pid
        self._stops: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="stop")
        self._known = self._saved = state.replicas()
        self._routes_written = ""
        self._routed: Mapping[str, Replica] = {}
        self._wanted: Wanted | None = None
        self._asked = -1
        self._complained: dict[str, float] = {}
        self._signed_at = float("-inf")

    def run(self, ended: threading.Event, is_mine: Callable[[], bool] = lambda: True) -> None:
        """Tick until nothing is wanted and nothing runs, `ended` is set, or the home `is_mine` no more."""
        while not ended.is_set() and is_mine():
            try:
                if self.tick():
                    break
            except (PolyfleetError, OSError) as error:
                self._complain(error)
            ended.wait(_QUICK_TICK_S if self._is_quick() else _TICK_S)

    def close(self) -> None:
        """Let go of threads; replicas stay."""
        self._watch.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def tick(self) -> bool:
        """One step. True once the home is closing and nothing of it runs."""
        wanted = self._what_is_wanted()
        if wanted.asked != self._asked:  # what has failed so far is worth another try
            self._known = {i: replica for i, replica in self._known.items() if replica.pid is not None}
            self._asked = wanted.asked
        alive = self._driver.list()
        self._watch.look(alive, often=self._moving())
        self._stops = {i: future for i, future in self._stops.items() if not future.done()}
        now = self._clock()
        view = View(
            wanted.specs, self._known, alive, now, self._watch.silent_s(), self._watch.busy(), frozenset(self._stops)
        )
        step = reconcile(view, self._pace)
        after = dict(step.replicas)
        for replica_id in step.died:
            after[replica_id] = self._with_last_lines(after[replica_id])
        told = self._outliving(lambda: self._write_routes(after))
        begun = time.monotonic()
        for spec in step.start:
            if time.monotonic() - begun < _START_S:
                after[spec.id] = self._started(spec, after[spec.id], now)
        for replica, grace_s in step.stop if told else ():
            self._stops[replica.spec.id] = self._pool.submit(self._driver.stop, replica, grace_s)
        self._known = after
        self._outliving(lambda: self._remember(after, wanted, now))
        self._outliving(self._driver.tidy)
        done = wanted.closing and not alive and not self._stops and not after
        return done and not getattr(self._driver, "unseen", ())  # what could not be looked at may hold what we forgot

    def _what_is_wanted(self) -> Wanted:
        """As the state says; while it cannot be asked, as it said last: what dies meanwhile comes back all the same."""

        def ask() -> None:
            self._wanted = self._state.wanted()

        if not self._outliving(ask) and self._wanted is None:
            raise LaunchError("it is not known what is wanted")
        assert self._wanted is not None
        return self._wanted

    def _outliving(self, act: Callable[[], None]) -> bool:
        """Whether it could be done. What cannot (a full disk, a database that is away) is tried again next time."""
        try:
            act()
        except (PolyfleetError, OSError) as error:
            self._complain(error)
            return False
        return True

    def _complain(self, error: Exception) -> None:
        """Once a minute, not twice a second."""
        words, now = str(error).splitlines()[0], self._clock()
        if now - self._complained.get(words, float("-inf")) >= _COMPLAIN_EVERY_S:
            _LOG.warning("%s", words)
            self._complained = {words: now} if len(self._complained) > 20 else self._complained | {words: now}

    def _started(self, spec: ReplicaSpec, replica: Replica, now: float) -> Replica:
        try:
            made = self._driver.start(spec)
        except StillThereError:
            return replica  # not seen yet: the next look finds it, or finds it gone
        except PolyfleetError as error:  # also a context that is gone, an extra that is missing
            if error.can_retry:  # nothing is wrong with the replica: the next tick tries again
                self._complain(error)
                return replica.model_copy(update={"last_lines": (str(error),)})
            deaths = replica.restarts + 1
            state = ReplicaState.FAILING if self._pace.is_failing(deaths) else ReplicaState.STOPPED
            update = {"restarts": deaths, "state": state, "since": now, "last_lines": (str(error),)}
            return replica.model_copy(update=update)
        _LOG.info("starting %s", spec.id)
        running = {"pid": made.pid, "process_started": made.process_started, "url": made.url}
        return replica.model_copy(update=running)

    def _with_last_lines(self, replica: Replica) -> Replica:
        try:
            lines = last_life(list(self._driver.logs(replica.spec.id, last=200)))[-_LINES_KEPT:]
        except LaunchError:
            lines = []
        _LOG.warning("%s died: %s", replica.spec.id, reason(lines) or "it said nothing")
        return replica.model_copy(update={"last_lines": tuple(lines)})

    def _write_routes(self, replicas: Mapping[str, Replica]) -> None:
        """Before anything is ended, so that the gate has heard of it."""
        is_there = self._routes_file.exists()
        if is_there and replicas == self._routed:
            return
        text = routes_of(replicas.values()).model_dump_json(indent=1)
        if text != self._routes_written or not is_there:
            write_whole(self._routes_file, text)
            self._routes_written = text
        self._routed = dict(replicas)

    def _remember(self, after: dict[str, Replica], wanted: Wanted, now: float) -> None:
        self._state.save(self._saved, after)
        self._saved = after
        if wanted.seen != wanted.asked:
            self._state.acknowledge(wanted.asked)
        if now - self._signed_at >= _SIGN_EVERY_S:
            self._state.sign(KeeperSeen(self._pid, now))
            self._signed_at = now

    def _moving(self) -> frozenset[str]:
        """Those to ask often: what drains, and the gate, which knows what is in them."""
        draining = [i for i, r in self._known.items() if r.state is ReplicaState.DRAINING]
        return frozenset((*draining, GATE) if draining else ())

    def _is_quick(self) -> bool:
        quick = (ReplicaState.STARTING, ReplicaState.DRAINING)
        return bool(self._stops) or any(r.state in quick for r in self._known.values())
