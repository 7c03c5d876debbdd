"""What a request may use, what it used, and the leave to go that binds the two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from polyfleet.terms.route import Route

if TYPE_CHECKING:
    from polyfleet.gate.keys.account import Hold
    from polyfleet.gate.keys.store import KeyFacts

NANO = 1_000_000_000
"""Money is counted in whole billionths of a USD: a token at 0.05 USD per million is 50 of them, and sums stay exact."""

_MOST_TOKENS = 10**12


class Estimate(NamedTuple):
    """The most that a request can use, as far as that is known before it runs."""

    input_tokens: int
    output_tokens: int
    usd: float

    @classmethod
    def of(cls, input_tokens: int, output_tokens: int, routes: Iterable[Route]) -> Estimate:
        """At the dearest of the routes that could serve it; free where there is none. Counts that cannot be are
        brought to the nearest that can."""
        input_tokens, output_tokens = (min(max(0, tokens), _MOST_TOKENS) for tokens in (input_tokens, output_tokens))
        dearest = max((cost_usd(route, input_tokens, output_tokens) for route in routes), default=0.0)
        return cls(input_tokens, output_tokens, dearest)


class Used(NamedTuple):
    """What a request used, for the ledger. `key` is the name of its key (`Pass.key`), never the key; `status` what the
    client got; `resumed` how often its stream went on elsewhere."""

    key: str
    route_id: str
    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    usd: float
    request_id: str
    status: int
    resumed: int = 0

    @classmethod
    def on(
        cls, route: Route, pass_: Pass, request_id: str, status: int, *, input_tokens: int, output_tokens: int,
        resumed: int = 0,
    ) -> Used:  # fmt: skip
        """At the price of the route that answered."""
        usd = cost_usd(route, input_tokens, output_tokens)
        return cls(pass_.key, route.id, pass_.model, route.provider, input_tokens, output_tokens, usd, request_id,
                   status, resumed)  # fmt: skip


class Pass:
    """Leave for one request. `key` is the key's name, `key_id` its number in the database (None: no keys are asked)."""

    __slots__ = ("_holds", "_settled", "admin", "admitted_at", "facts", "model")

    def __init__(self, facts: KeyFacts | None, model: str, *, admitted_at: float, holds: Sequence[Hold] = ()) -> None:
        self.facts, self.model, self.admitted_at = facts, model, admitted_at
        self.admin = facts.admin if facts else False
        self._holds, self._settled = holds, False

    @property
    def key(self) -> str:
        return self.facts.name if self.facts else ""

    @property
    def key_id(self) -> int | None:
        return self.facts.id if self.facts else None

    def use(self) -> Sequence[Hold] | None:
        """What was held for it, once; None ever after."""
        if self._settled:
            return None
        self._settled = True
        return self._holds


def cost_usd(route: Route, input_tokens: int, output_tokens: int) -> float:
    return (input_tokens * route.usd_per_m_input + output_tokens * route.usd_per_m_output) / 1e6


def nano_up(usd: float) -> int:
    """Billionths of a USD, rounded up: what is held is never less than what is then used."""
    return math.ceil(usd * NANO)


def nano(usd: float) -> int:
    """Billionths of a USD, to the nearest; never more than `nano_up` of as much or more."""
    return round(usd * NANO)
