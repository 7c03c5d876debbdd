"""Who of those that wait is next: fair across keys, in tokens."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from polyfleet.routing.work import work_tokens

T = TypeVar("T")


class _Line(Generic[T]):
    __slots__ = ("deficit", "items", "work")

    def __init__(self) -> None:
        self.items: deque[tuple[T, float]] = deque()
        self.work = 0.0
        self.deficit = 0.0


class FairQueue(Generic[T]):
    """Deficit round robin (Shreedhar and Varghese, 1996): each key in turn may use up to a quantum of tokens.

    Over any time in which two keys both wait, the tokens that they get differ by at most a quantum and two requests.
    First come, first served within a key. The quantum is the mean cost of what was pushed lately.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line[T]] = {}
        self._turns: deque[str] = deque()
        self._quantum = work_tokens(0, 0)
        self.waiting = 0
        self.work = 0.0

    def __len__(self) -> int:
        return self.waiting

    def push(self, key: str, item: T, cost: float) -> None:
        """Queue `item` (hashable, distinct) of `cost` tokens."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
            self._turns.append(key)
        line.items.append((item, cost))
        line.work += cost
        self.work += cost
        self.waiting += 1
        self._quantum += (cost - self._quantum) / 32.0

    def pop(self) -> T | None:
        """The next; None where nobody waits."""
        while self._turns:
            key = self._turns[0]
            line = self._lines[key]
            cost = line.items[0][1]
            if cost <= line.deficit:
                line.deficit -= cost
                item, _ = line.items.popleft()
                self._left(key, line, cost)
                return item
            line.deficit += self._quantum
            self._turns.rotate(-1)
        return None

    def remove(self, key: str, item: T) -> bool:
        """Take one out that waits no longer. False where it was not there."""
        line = self._lines.get(key)
        for entry in line.items if line else ():
            if entry[0] is item:
                assert line is not None
                line.items.remove(entry)
                self._left(key, line, entry[1])
                return True
        return False

    def _left(self, key: str, line: _Line[T], cost: float) -> None:
        line.work -= cost
        self.work -= cost
        self.waiting -= 1
        if not line.items:
            del self._lines[key]
            self._turns.remove(key)
        if self.waiting == 0:
            self.work = 0.0

    def ahead(self, key: str, cost: float, coming: tuple[float, float, int] = (0.0, 0.0, 0)) -> float:
        """Tokens that are served before a new request of this key, at most.

        While it waits no other key gets more than this key does, and none more than it has queued. `coming`: tokens of
        this key, tokens of all, and keys, that are expected before it and count as if they waited.
        """
        line = self._lines.get(key)
        own = (line.work if line else 0.0) + coming[0]
        keys = max(len(self._lines) + (line is None), coming[2])
        return min(self.work + coming[1], own + (keys - 1) * (own + cost))
