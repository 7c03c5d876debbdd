"""Refusals kept as facts, for the next try, the next keeper and whoever asks why."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from polyfleet.launch.sky.refusals import Fact, Refusal
from polyfleet.terms.fleet import PricedOffer

_LATER_S = 600.0
"""An offer refused for want of capacity or quota comes last for so long."""
_MOST_FACTS = 500
_SCARCE = (Refusal.CAPACITY, Refusal.QUOTA)


class RefusalBook:
    """Facts in a file, one JSON line each, the last 500; several threads may write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._facts = _read(path)

    def all(self) -> list[Fact]:
        with self._lock:
            return list(self._facts)

    def note(self, fact: Fact) -> None:
        """Keep a fact. Raises OSError where the file cannot be written; it is known all the same."""
        with self._lock:
            self._facts.append(fact)
            if len(self._facts) >= 2 * _MOST_FACTS:
                del self._facts[:-_MOST_FACTS]
                self._path.write_text("".join(map(_json, self._facts)))
                return
            with self._path.open("a") as file:
                file.write(_json(fact))

    def ordered(self, offers: Sequence[PricedOffer], now: float) -> list[PricedOffer]:
        """The offers in their order; those that were refused for capacity or quota within ten minutes come last."""
        late = {fact.offer for fact in self.all() if fact.kind in _SCARCE and now - fact.at < _LATER_S}
        return sorted(offers, key=lambda offer: offer.offer in late)


def _json(fact: Fact) -> str:
    return json.dumps(asdict(fact)) + "\n"


def _read(path: Path) -> list[Fact]:
    """What is legible: a line may be half written, or another version's."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [fact for fact in map(_fact, lines[-_MOST_FACTS:]) if fact is not None]


def _fact(line: str) -> Fact | None:
    try:
        told = json.loads(line)
        return Fact(float(told["at"]), str(told["offer"]), Refusal(told["kind"]), str(told["words"]))
    except (ValueError, KeyError, TypeError):
        return None
