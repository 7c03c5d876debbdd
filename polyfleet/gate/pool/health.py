"""Whether a route may take requests: ejected after failures, tried again, warmed up. Time is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class HealthRules:
    """When a route is ejected and how it returns. The defaults are assumptions, in the range of Envoy's.

    A route is ejected after `failures` in a row, one stall, or `probes` failed probes in a row; or where its time to
    first token or between tokens is `slow_factor` × the median of its peers (same chip and engine, at least
    `slow_peers` with `slow_samples` streams each) and `slow_first_s` or `slow_gap_s` above it. It stays out `eject_s`,
    twice as long each time up to `eject_most_s`, and until a probe answers where it is probed; is then tried with one
    request; then warmed up over `warm_s`, from `warm_from` of its share. After `forgive_s` without trouble its past is
    forgotten.
    """

    failures: int = 3
    probes: int = 2
    eject_s: float = 2.0
    eject_most_s: float = 60.0
    forgive_s: float = 60.0
    warm_s: float = 10.0
    warm_from: float = 0.1
    slow_factor: float = 4.0
    slow_peers: int = 3
    slow_samples: int = 8
    slow_first_s: float = 0.25
    slow_gap_s: float = 0.025


class Standing(StrEnum):
    """OPEN: takes requests. EJECTED: takes none while another can. TRIAL: takes one, and it decides."""

    OPEN = "open"
    EJECTED = "ejected"
    TRIAL = "trial"


class Health:
    """The standing of one route. Who may be ejected (never the last) is the pool's to say."""

    __slots__ = (
        "_answers",
        "_ejections",
        "_failures",
        "_probes",
        "_rules",
        "_trouble_at",
        "_until",
        "_warm_since",
        "_watched",
        "reason",
        "state",
    )

    def __init__(self, rules: HealthRules, warm_since: float | None = None) -> None:
        """`warm_since`: the moment at which it came; None for one that is warm."""
        self._rules = rules
        self.state = Standing.OPEN
        self.reason = ""
        self._failures = self._probes = self._ejections = 0
        self._until = 0.0
        self._watched = self._answers = False
        self._trouble_at = float("-inf")
        self._warm_since = warm_since

    def worked(self, now: float, began_at: float = float("-inf")) -> bool:
        """A request that began then was answered. True where that brings it back: as a trial, or where it began after
        the ejection, since nobody else could take it; being slow is not disproved by it."""
        self._failures = self._probes = 0
        after = self.state is Standing.EJECTED and began_at > self._trouble_at and self.reason != "slow"
        if self.state is not Standing.TRIAL and not after:
            return False
        self.state, self.reason, self._warm_since = Standing.OPEN, "", now
        return True

    def failed(self, stalled: bool = False) -> str:
        """A request failed here. The reason to eject it, or an empty text."""
        self._failures += 1
        if stalled:
            return "stalled"
        return "failures" if self._failures >= self._rules.failures or self.state is Standing.TRIAL else ""

    def probed(self, answered: bool, flows: bool = False) -> str:
        """A probe came back, while requests were answered (`flows`). The reason to eject it, or an empty text."""
        self._watched = True
        self._answers = self._answers or answered
        self._probes = 0 if answered or flows else self._probes + 1
        return "probes" if self._probes >= self._rules.probes else ""

    def eject(self, now: float, reason: str) -> None:
        rules = self._rules
        if now - self._trouble_at > rules.forgive_s:
            self._ejections = 0
        self._ejections += 1
        self._trouble_at = now
        self.state, self.reason, self._answers = Standing.EJECTED, reason, False
        self._until = now + min(rules.eject_most_s, rules.eject_s * 2.0 ** min(self._ejections - 1, 30))

    def wake(self, now: float) -> bool:
        """Put it on trial where its time is up and, if it is probed, a probe was answered since. True where that
        changed it."""
        if self.state is not Standing.EJECTED or now < self._until or (self._watched and not self._answers):
            return False
        self.state = Standing.TRIAL
        return True

    def recall(self) -> bool:
        """Put it on trial before its time, where a probe was answered since: the others are in trouble, too."""
        if self.state is not Standing.EJECTED or not (self._watched and self._answers):
            return False
        self.state = Standing.TRIAL
        return True

    def scale(self, now: float) -> float:
        """What part of its share it is given now: 1, or less while it is warmed up."""
        if self._warm_since is None:
            return 1.0
        age = (now - self._warm_since) / self._rules.warm_s if self._rules.warm_s > 0 else 1.0
        if age >= 1.0:
            self._warm_since = None
            return 1.0
        return max(self._rules.warm_from, age)

    @property
    def warming(self) -> bool:
        return self._warm_since is not None

    @property
    def returns_at(self) -> float:
        """When an ejected one is tried again at the earliest."""
        return self._until
