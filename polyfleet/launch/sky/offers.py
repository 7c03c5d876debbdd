"""Going through what a machine may be rented as, in order, until one is had; every refusal is kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.client import Launched, Sky
from polyfleet.launch.sky.refusal_book import RefusalBook
from polyfleet.launch.sky.refusals import AwayError, EngineError, Fact, Refusal, fact_of, passes
from polyfleet.launch.sky.task import manifest_of, resources_of
from polyfleet.terms.fleet import PricedOffer, ReplicaSpec

_PRICE_MOVED = 0.10
Tell = Callable[[str], None]


class RefusedError(LaunchError):
    """No offer was had. `passes`: waiting may cure it."""

    def __init__(self, facts: list[Fact]) -> None:
        self.facts, self.passes = facts, passes(facts)
        super().__init__("; ".join(fact.line for fact in facts) or "no offer to rent a machine as")


class AbandonedError(LaunchError):
    """It is not wanted any more."""


def rent(
    sky: Sky, book: RefusalBook, spec: ReplicaSpec, cluster: str, fleet: str, task: Mapping[str, Any], *,
    is_wanted: Callable[[], bool], tell: Tell,
) -> Launched:  # fmt: skip
    """Have the machine, as the first of its offers that is had. `tell` hears what is asked for, and of each refusal.

    Raises RefusedError where none was had; nothing is left of what was tried.
    """
    facts: list[Fact] = []
    for offer in book.ordered(spec.offers, time.time()):
        if not is_wanted():
            raise AbandonedError(f"{spec.id} is not wanted any more")
        tell(f"asking for {offer.offer}" + (f"; refused before: {facts[-1].line}" if facts else ""))
        try:
            made = sky.launch(cluster, task, resources_of(spec, offer, fleet), manifest_of(spec).secrets)
        except AwayError:
            raise  # SkyPilot itself is away: the next offer would fare no better
        except EngineError as error:
            if not is_wanted():
                raise AbandonedError(f"{spec.id} is not wanted any more") from None
            if error.is_skypilots:
                raise
            facts.append(fact_of(error, offer.offer, time.time()))
            _note(book, facts[-1])
            tell(facts[-1].line)
            _clear(sky, cluster)
            continue
        _compare_price(book, offer, made, tell)
        return made
    raise RefusedError(facts)


def _clear(sky: Sky, cluster: str) -> None:
    """SkyPilot takes a half-made cluster down itself; where it did not, the next offer would not fit it."""
    if sky.clusters(cluster, force=False):
        sky.down(cluster)


def _compare_price(book: RefusalBook, offer: PricedOffer, made: Launched, tell: Tell) -> None:
    planned, seen = offer.usd_per_hour, made.usd_per_hour
    if seen is None or abs(seen - planned) <= _PRICE_MOVED * max(planned, 1e-9):
        return
    words = f"${seen:.4g} an hour by SkyPilot's prices, ${planned:.4g} by the plan's"
    fact = Fact(time.time(), offer.offer, Refusal.PRICE, words)
    _note(book, fact)
    tell(fact.line)


def _note(book: RefusalBook, fact: Fact) -> None:
    with contextlib.suppress(OSError):  # a full disk keeps no facts, and stops no machine
        book.note(fact)
