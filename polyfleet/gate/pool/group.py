"""The routes of one model, as the policy sees them."""

from __future__ import annotations

from random import Random

from polyfleet.gate.pool.ask import Ask
from polyfleet.gate.pool.health import Standing
from polyfleet.gate.pool.lane import Lane
from polyfleet.gate.pool.meter import Mean
from polyfleet.routing import Choice, View, nearest_bucket, work_tokens
from polyfleet.terms.route import SizeBucket

_OUTPUT_UNKNOWN = 256.0
"""Tokens of output assumed of a model until enough answers were seen."""

_ENOUGH = 8

_TICK_S = 0.25


class Group:
    """Lanes of one model. `outputs`: running mean of its answers' tokens."""

    def __init__(self, model: str, lanes: list[Lane], buckets: tuple[SizeBucket, ...], chance: Random) -> None:
        self.model, self.lanes = model, lanes
        self.sizes = [(b.input_tokens, b.output_tokens) for b in buckets]
        self.outputs = Mean()
        self._chance = chance
        self._plan = [[_share(lane, b, len(self.sizes)) for lane in lanes] for b in range(max(1, len(self.sizes)))]
        self._speeds = [_speed(lane, self.sizes) for lane in lanes]
        self.view = View(
            ids=tuple(lane.route.id for lane in lanes),
            shares=[list(row) for row in self._plan],
            speeds=list(self._speeds),
            canary=[lane.route.canary for lane in lanes],
            usd_input=[lane.route.usd_per_m_input for lane in lanes],
            usd_output=[lane.route.usd_per_m_output for lane in lanes],
        )
        self._choice = Choice(self.view, [chance.random() for _ in lanes])
        self._short = min((lane.route.context_tokens or float("inf") for lane in lanes), default=float("inf"))
        self.open: list[int] = []
        self.ejected: list[int] = []
        self._trial = self._near = False
        self.shared = any(len(lane.route.served) > 1 for lane in lanes)
        self.room = 0.0
        self.seen = -1
        self.refresh_at = 0.0

    def expected_output(self, limit: float | None) -> float:
        """Tokens that an answer is expected to have, whatever its client's limit."""
        mean = self.outputs.value if self.outputs.count >= _ENOUGH else _OUTPUT_UNKNOWN
        return mean if limit is None or mean < limit else limit

    def refresh(self, now: float) -> None:
        """Take in how the routes stand: who may be chosen, at what part of its share."""
        view, lanes = self.view, self.lanes
        routable = [i for i, lane in enumerate(lanes) if lane.routable and lane.held is None]
        self.open = [i for i in routable if lanes[i].health.state is not Standing.EJECTED]
        self.ejected = [i for i in routable if lanes[i].health.state is Standing.EJECTED]
        self._trial = any(lanes[i].health.state is Standing.TRIAL for i in self.open)
        scales = [lane.health.scale(now) for lane in lanes]
        warmest = max([scales[i] for i in self.open], default=1.0)
        view.limits = [
            min(lane.quota.cap, max(1.0, lane.limit * scale / warmest))
            for lane, scale in zip(lanes, scales, strict=True)
        ]
        self.room = sum([view.limits[i] for i in self.open or self.ejected], 0.0)
        for row, plan in zip(view.shares, self._plan, strict=True):
            row[:] = [share * scale for share, scale in zip(plan, scales, strict=True)]
        self._near = any(lane.quota.scale < 1.0 for lane in lanes)
        view.speeds[:] = [speed * scale for speed, scale in zip(self._speeds, scales, strict=True)]
        self.refresh_at = self._next_refresh(now, routable)

    def _next_refresh(self, now: float, routable: list[int]) -> float:
        """When something changes by time alone: one may return, or is warmer."""
        returns = [self.lanes[i].health.returns_at for i in self.ejected]
        if any(self.lanes[i].health.warming for i in routable) or any(at <= now for at in returns):
            return now + _TICK_S
        holds = [lane.held.until for lane in self.lanes if lane.held is not None]
        return min([*returns, *holds, *[lane.quota.until for lane in self.lanes]], default=float("inf"))

    def choose(self, ask: Ask, avoid: frozenset[str]) -> int:
        """Index of the lane for this request, -1 for none."""
        lanes, view = self.lanes, self.view
        output = self.expected_output(ask.output_tokens)
        allowed = self.open
        if avoid or self._trial or ask.input_tokens + output > self._short:
            allowed = self._narrow(allowed, avoid, ask.input_tokens + output)
        if not allowed:
            allowed = self._narrow(self.ejected, avoid, 0.0)
            if not allowed:
                return -1
        if self._near and len(allowed) > 1:
            allowed = [i for i in allowed if self._spared(lanes[i])] or allowed
        bucket = nearest_bucket(self.sizes, ask.input_tokens, output) if len(self.sizes) > 1 else 0
        view.work = [lane.work for lane in lanes]
        view.flights = [lane.flights for lane in lanes]
        cost = work_tokens(ask.input_tokens, output)
        return self._choice.choose(view, bucket, (ask.input_tokens, output, cost), ask.conversation, allowed)

    def _spared(self, lane: Lane) -> bool:
        """Whether a route is offered this request: one near its host's limit only some of them, so that kept
        conversations leave it, too."""
        scale = lane.quota.scale
        return scale >= 1.0 or self._chance.random() < scale

    def _narrow(self, indices: list[int], avoid: frozenset[str], tokens: float) -> list[int]:
        """Without those to avoid, those whose trial is under way, and, where others remain, those too short."""
        lanes, ids = self.lanes, self.view.ids
        left = [i for i in indices if ids[i] not in avoid and not _tried(lanes[i])]
        left = left or [i for i in indices if ids[i] not in avoid]
        long = [i for i in left if tokens <= (lanes[i].route.context_tokens or float("inf"))]
        return long or left


def _tried(lane: Lane) -> bool:
    return lane.health.state is Standing.TRIAL and lane.flights > 0


def _share(lane: Lane, bucket: int, buckets: int) -> float:
    weights = lane.route.weights
    return weights[bucket] if weights and len(weights) == buckets else lane.route.weight


def _speed(lane: Lane, sizes: list[tuple[float, float]]) -> float:
    """The work that the plan gives it, over all buckets: a long request weighs more than a short one."""
    weights = lane.route.weights
    if weights and len(weights) == len(sizes):
        mean = sum(w * work_tokens(*size) for w, size in zip(weights, sizes, strict=True)) / len(weights)
    else:
        mean = sum(weights) / len(weights) if weights else lane.route.weight
    return mean if mean > 0 else max(lane.route.weight, 1e-9) if lane.route.weight > 0 else 1.0
