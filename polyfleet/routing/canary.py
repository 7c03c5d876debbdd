"""How much of the traffic a route under trial takes."""

from __future__ import annotations

_SPAN = float(1 << 64)


class Canary:
    """Lets a share of requests through: exact over any run of them, and the same for each conversation."""

    def __init__(self, share: float, start: float = 0.5) -> None:
        """`share` in 0..1; `start` in 0..1 says how near the first one is."""
        self.share = share
        self._saved = start

    def takes(self, hashed: int | None) -> bool:
        """Whether this request goes to the canary. `hashed` (64 bits) of its conversation, None where it has none."""
        if hashed is not None:
            return (hashed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) / _SPAN < self.share
        self._saved += self.share
        if self._saved >= 1.0:
            self._saved -= 1.0
            return True
        return False
