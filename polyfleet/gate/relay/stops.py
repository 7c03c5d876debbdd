"""Stop strings, watched by the gate over a cut that no single engine sees across."""

from __future__ import annotations

from collections.abc import Sequence


class StopWatch:
    """Lets text through up to a stop string; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str], *, keep: bool = False) -> None:
        self._stops = tuple(stops)
        self._keep = keep
        self._held = ""
        self.hit: str | None = None

    def feed(self, text: str) -> str:
        """Text that is sure to be before any stop string. Once `hit`, nothing more comes."""
        if self.hit is not None or not self._stops:
            return "" if self.hit is not None else text
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, self.hit = min(found)
            out, self._held = self._held[: at + (len(self.hit) if self._keep else 0)], ""
            return out
        free = len(self._held) - self._possible()
        out, self._held = self._held[:free], self._held[free:]
        return out

    def flush(self) -> str:
        """What was held back and turned out to be no stop string."""
        out, self._held = self._held, ""
        return out

    def _possible(self) -> int:
        """The length of the longest end of the held text that begins a stop string."""
        longest = max(map(len, self._stops)) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0
