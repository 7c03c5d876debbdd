"""What all requests of a gate have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from polyfleet.gate.http.upstream import Upstream
from polyfleet.gate.pool.pool import Pool
from polyfleet.gate.relay.leg import Leg
from polyfleet.gate.relay.retries import PoisonList, RetryBudget
from polyfleet.gate.seen.metrics import Metrics


@dataclass(frozen=True)
class Rules:
    """How long and how often the gate tries. `patience_s` is how long a request waits for a replica to come back."""

    legs: int = 6
    patience_s: float = 15.0
    pause_s: float = 0.2
    side_call_s: float = 10.0
    most_answer_bytes: int = 64 * 2**20


@dataclass
class Shared:
    """What all requests of a gate have in common."""

    pool: Pool
    upstream: Upstream
    metrics: Metrics
    rules: Rules = field(default_factory=Rules)
    budget: RetryBudget = field(default_factory=RetryBudget)
    poison: PoisonList = field(default_factory=PoisonList)
    flying: set[Leg] = field(default_factory=set)
    without_usage: set[str] = field(default_factory=set)
    """Routes whose host refuses to be asked for a stream's usage."""
