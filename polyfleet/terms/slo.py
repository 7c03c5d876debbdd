"""The latency promise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """Time to first token and time per output token, each at a percentile (95 = P95). None = no promise."""

    ttft_ms: float | None = None
    ttft_percentile: float = 95.0
    tpot_ms: float | None = None
    tpot_percentile: float = 95.0

    def relaxed(self, factor: float) -> Slo:
        """The promise loosened by a factor >= 1, as a policy may allow while something is lost."""
        return Slo(
            None if self.ttft_ms is None else self.ttft_ms * factor,
            self.ttft_percentile,
            None if self.tpot_ms is None else self.tpot_ms * factor,
            self.tpot_percentile,
        )
