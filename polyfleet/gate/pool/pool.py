"""All routes: who takes the next request, what is in flight, who is well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random
from time import monotonic

from polyfleet.gate.pool.ask import Ask, Outcome
from polyfleet.gate.pool.flight import Flight
from polyfleet.gate.pool.group import Group
from polyfleet.gate.pool.health import Health, HealthRules, Standing
from polyfleet.gate.pool.holds import Closed, Holds
from polyfleet.gate.pool.lane import Lane
from polyfleet.gate.pool.slow import stays_slow
from polyfleet.gate.pool.upstream_keys import NoKeyError, UpstreamKeys
from polyfleet.gate.seen.metrics import Gauge, Metrics
from polyfleet.routing import work_tokens
from polyfleet.terms.route import Route, Routes

__all__ = ["Ask", "Flight", "Outcome", "Pool"]


_OK = Outcome.OK  # the lookup on the enum costs, with every request

_COMPARE_S = 0.5
"""How often a route's speed is compared with its peers'."""


class Pool:
    """Not thread-safe: one event loop owns it. With `workers` gates side by side each takes its part of the slots."""

    def __init__(
        self,
        routes: Routes | None = None,
        *,
        rules: HealthRules | None = None,
        metrics: Metrics | None = None,
        workers: int = 1,
        clock: Callable[[], float] = monotonic,
        chance: Random | None = None,
        keys: UpstreamKeys | None = None,
    ) -> None:
        self.rules = rules or HealthRules()
        self.metrics = metrics or Metrics()
        self._workers, self._clock, self._chance = workers, clock, chance or Random()
        self._lanes: dict[str, Lane] = {}
        self._groups: dict[str, Group] = {}
        self._routes = Routes()
        self._changes = 0
        self._listeners: list[Callable[[], None]] = []
        self.keys = keys or UpstreamKeys()
        self.holds = Holds(self.keys, self.metrics, self._changed, clock)
        self.metrics.watch(self._gauges)
        if routes is not None:
            self.update(routes)

    # what there is

    def update(self, routes: Routes) -> None:
        """Take these routes for all that there are. Flights on those that went away go on to their end.

        A route that keeps its id and address keeps its standing and measures; others start anew, and are warmed up
        where routes were there before.
        """
        if routes == self._routes:
            return
        self._routes = routes
        now, before = self._clock(), self._lanes
        warm_since = now if before else None
        self._lanes = {route.id: self._lane(before.get(route.id), route, warm_since) for route in routes.routes}
        names = dict.fromkeys((*(name for route in routes.routes for name in route.served), *routes.models))
        groups: dict[str, Group] = {}
        for name in names:
            lanes = [lane for lane in self._lanes.values() if name in lane.route.served]
            groups[name] = Group(name, lanes, routes.buckets.get(name, ()), self._chance)
            if name in self._groups:
                groups[name].outputs = self._groups[name].outputs
        self._groups = groups
        self.holds.check_keys(self._lanes.values())
        self._changed()

    def _lane(self, old: Lane | None, route: Route, warm_since: float | None) -> Lane:
        slots = float("inf") if route.slots is None else max(1.0, route.slots / self._workers)
        if old is None or old.route.url != route.url:
            return Lane(route, Health(self.rules, warm_since), slots, self.metrics.route(route.id))
        old.route = route
        if old.slots != slots:
            old.slots = old.limit = slots
        return old

    def models(self) -> list[str]:
        """Names that clients may ask for, in the order of the routes file."""
        return list(self._groups)

    def routes(self, model: str) -> list[Route]:
        """The routes of a model; empty where it is unknown."""
        group = self._groups.get(model)
        return [lane.route for lane in group.lanes] if group else []

    def ready(self, model: str) -> bool:
        """Whether a route of this model takes requests and is not ejected."""
        group = self._groups.get(model)
        return group is not None and any(_well(lane) for lane in group.lanes)

    def room(self, model: str) -> float:
        """Requests of this model that its routes decode at once (infinite where one names no slots); 0 for none."""
        group = self._groups.get(model)
        if group is None:
            return 0.0
        self._refresh(group)
        return group.room

    def flights(self, model: str) -> int:
        """Requests in flight on those routes of this model that serve others too, theirs included; 0 for none."""
        group = self._groups.get(model)
        return sum([lane.flights for lane in group.lanes]) if group is not None and group.shared else 0

    def closed(self, model: str) -> Closed | None:
        """Where all routes of a model are held back: what to tell, and for how long."""
        group = self._groups.get(model)
        return self.holds.closed(group.lanes) if group is not None else None

    def tick(self) -> None:
        """Let routes go whose hold is over, and look for keys that came or went: to be called now and then."""
        self.holds.tick(self._lanes.values())

    def check_keys(self) -> None:
        """Look which routes have their key."""
        self.holds.check_keys(self._lanes.values())

    def without_key(self, route_id: str, error: NoKeyError) -> None:
        """A route's key was not there when it was needed."""
        if route_id in self._lanes:
            self.holds.no_key(self._lanes[route_id], error)

    # a request

    def expected_output(self, model: str, limit: float | None = None) -> float:
        """Tokens of output to expect: the running mean of the model's answers, at most the client's limit."""
        group = self._groups.get(model)
        return group.expected_output(limit) if group else limit or 0.0

    def cost(self, model: str, ask: Ask) -> float:
        """The work of a request in tokens of output."""
        return work_tokens(ask.input_tokens, self.expected_output(model, ask.output_tokens))

    def pick(self, model: str, ask: Ask, avoid: frozenset[str] = frozenset()) -> Route | None:
        """The route that takes this request next, none of `avoid`; None where there is none.

        Ejected routes are chosen only where nobody else is left; draining ones and those that failed parity never.
        """
        group = self._groups.get(model)
        if group is None:
            return None
        self._refresh(group)
        chosen = group.choose(ask, avoid)
        return group.lanes[chosen].route if chosen >= 0 else None

    async def wait_pick(
        self, model: str, ask: Ask, avoid: frozenset[str] = frozenset(), timeout_s: float = 10.0
    ) -> Route | None:
        """As `pick`; where there is none, wait until routes change. None after `timeout_s`."""
        ends = asyncio.get_running_loop().time() + timeout_s
        while (route := self.pick(model, ask, avoid)) is None:
            left = ends - asyncio.get_running_loop().time()
            if left <= 0 or not await self._change(left):
                return self.pick(model, ask, avoid)
        return route

    def begin(self, route_id: str, ask: Ask, model: str | None = None) -> Flight:
        """Count a request in on a route. `model` as asked for (None: the route's first). Raises KeyError where the
        route is gone."""
        lane = self._lanes[route_id]
        name = lane.route.served[0] if model is None else model
        group = self._groups.get(name)
        output = group.expected_output(ask.output_tokens) if group else ask.output_tokens or 1.0
        return Flight(self, lane, ask, name, work_tokens(ask.input_tokens, output), self._clock)

    def ended(self, flight: Flight, outcome: Outcome, now: float, longest_s: float) -> None:
        """For `Flight.done` alone: learn from how it ended."""
        lane = flight.lane
        if outcome is _OK:
            lane.meter.answered.value += 1
            if lane.held is None:
                lane.quota.worked()
            self._learn(flight, now, longest_s)
            return
        self.metrics.attempted(lane.route.id, outcome)
        if outcome is Outcome.REFUSED:
            lane.was_full()
            self._changes += 1
        elif outcome is not Outcome.CANCELLED:
            reason = lane.health.failed(stalled=outcome is Outcome.STALLED)
            if reason:
                self._eject(lane, now, reason)

    def _learn(self, flight: Flight, now: float, longest_s: float) -> None:
        lane, tokens = flight.lane, flight.output_tokens
        if lane.health.worked(now, flight.began_at):
            self._changed()
        if lane.limit < lane.slots:
            lane.had_room()
            self._changes += 1
        group = self._groups.get(flight.model)
        if group is not None and tokens > 0:
            group.outputs.add(tokens)
        if flight.first_s is None:
            return
        lane.first.values.append(flight.first_s)
        lane.first_peak.add(flight.first_s)
        if tokens > 1:
            lane.gap_peak.add(longest_s)
            lane.gap.values.append((now - flight.began_at - flight.first_s) / (tokens - 1))
        if group is not None and now >= lane.compare_at:
            self._compare(lane, group, now)

    def _compare(self, lane: Lane, group: Group, now: float) -> None:
        lane.compare_at = now + _COMPARE_S
        if stays_slow(lane, [one for one in group.lanes if _well(one)], self.rules):
            self._eject(lane, now, "slow")
            lane.forget_speed()

    # stalls

    def stall_after_s(self, route_id: str) -> float:
        """Silence within an answer after which this route counts as stalled, as measured on it."""
        lane = self._lanes.get(route_id)
        return lane.gap_limit_s() if lane else 0.0

    def stalled(self, flight: Flight) -> bool:
        """Whether a flight has been silent for too long: its limit while another route flows, four times that else."""
        silent, limit = flight.silent_s, flight.stall_after_s
        if silent <= limit:
            return False
        if silent > 4.0 * limit:
            return True
        since = self._clock() - 0.5 * limit
        return any(lane.last_byte_at >= since for lane in self._lanes.values() if lane is not flight.lane)

    # health

    def all_routes(self) -> list[Route]:
        """Every route, well or not."""
        return [lane.route for lane in self._lanes.values()]

    def standing(self, route_id: str) -> Standing:
        """How a route stands now. Raises KeyError where there is none such."""
        return self._lanes[route_id].health.state

    def probed(self, route: Route, answered: bool) -> None:
        """An active probe of a route came back. A route that sent bytes within the last second is not ejected by it."""
        lane = self._lanes.get(route.id)
        if lane is None or lane.route.url != route.url:
            return
        now = self._clock()
        flows = now - lane.last_byte_at < 1.0
        reason = lane.health.probed(answered, flows)
        if reason and lane.health.state is not Standing.EJECTED:
            self._eject(lane, now, reason)
        elif answered and lane.health.reason == "probes" and (lane.health.wake(now) or lane.health.worked(now)):
            self._changed()

    def _eject(self, lane: Lane, now: float, reason: str) -> None:
        if lane.health.state is Standing.OPEN and not self._may_spare(lane):
            recalled = [other for other in self._lanes.values() if other is not lane and other.health.recall()]
            if recalled:
                self._changed()
            return
        if lane.health.state is not Standing.EJECTED:
            self.metrics.ejected(lane.route.id, reason)
        lane.health.eject(now, reason)
        self._changed()

    def _may_spare(self, lane: Lane) -> bool:
        """Whether every model that it serves has another route that is open."""
        return all(
            any(_well(other) for other in self._groups[name].lanes if other is not lane)
            for name in lane.route.served
            if name in self._groups
        )

    def _refresh(self, group: Group) -> None:
        now = self._clock()
        if group.seen == self._changes and now < group.refresh_at:
            return
        self.holds.tick(group.lanes)
        woken = [lane for lane in group.lanes if lane.health.wake(now)]
        if woken:
            self._changed()
        group.refresh(now)
        group.seen = self._changes

    # who wants to know

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever routes come, go, are ejected or return."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        self._changes += 1
        for listener in list(self._listeners):
            listener()

    async def _change(self, timeout_s: float) -> bool:
        changed = asyncio.Event()
        self._listeners.append(changed.set)
        try:
            await asyncio.wait_for(changed.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            self._listeners.remove(changed.set)
        return True

    def _gauges(self) -> Iterator[Gauge]:
        for name, lane in self._lanes.items():
            state = _state(lane)
            yield "polyfleet_in_flight", (name,), float(lane.flights)
            yield "polyfleet_work_tokens", (name,), lane.work
            yield "polyfleet_route", (name, state), 1.0
            if lane.held is not None:
                yield "polyfleet_route_held", (name, lane.held.reason), 1.0
            for kind, figure in lane.quota.figures.items():
                yield "polyfleet_rate_limit", (name, kind, self.metrics.worker), figure.limit
                yield "polyfleet_rate_limit_remaining", (name, kind, self.metrics.worker), figure.remaining


def _state(lane: Lane) -> str:
    if not lane.routable:
        return "draining" if lane.route.state != "open" else "unfit"
    return lane.health.state.value if lane.held is None else "held"


def _well(lane: Lane) -> bool:
    return lane.routable and lane.held is None and lane.health.state is Standing.OPEN
