"""Which route is slow beside its peers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from polyfleet.gate.pool.health import HealthRules
from polyfleet.gate.pool.lane import Lane
from polyfleet.gate.pool.meter import Recent

_TIMES = 3


def stays_slow(lane: Lane, well: Sequence[Lane], rules: HealthRules) -> bool:
    """Whether it is slow several times running: those of a pool that turns slow do not turn in the same moment."""
    lane.slow_times = lane.slow_times + 1 if lane in well and is_slow(lane, well, rules) else 0
    return lane.slow_times >= _TIMES


def is_slow(lane: Lane, others: Sequence[Lane], rules: HealthRules) -> bool:
    """Whether its time to first token or between tokens lies far above the median of its peers, itself among them.

    Peers have the same chip and engine: an honest difference of hardware is no fault, and the plan's shares know it.
    """
    route = lane.route
    peers = [one for one in others if (one.route.chip, one.route.engine) == (route.chip, route.engine)]
    return _stands_out(lane.first, [one.first for one in peers], rules.slow_first_s, rules) or _stands_out(
        lane.gap, [one.gap for one in peers], rules.slow_gap_s, rules
    )


def _stands_out(mine: Recent, peers: Sequence[Recent], excess: float, rules: HealthRules) -> bool:
    known = [one.median() for one in peers if len(one.values) >= rules.slow_samples]
    if len(known) < rules.slow_peers or len(mine.values) < rules.slow_samples:
        return False
    value, middle = mine.median(), median(known)
    return value > rules.slow_factor * middle and value - middle > excess
