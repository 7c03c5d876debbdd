"""Where a number comes from, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Evidence(StrEnum):
    """Where a number comes from. Travels with the number into every table and page."""

    MEASURED = "measured"  # on this model, chip and engine
    CALIBRATED = "calibrated"  # physics fitted on neighbours
    PHYSICS = "physics"  # datasheet only
    LISTED = "listed"  # a published price, with its date
    ASSUMED = "assumed"  # the user's word, or a stated assumption


@dataclass(frozen=True, slots=True)
class Band:
    """A figure with its P10-P90 band, all three in the unit that the field's name states.

    Raises ValueError unless 0 <= p10 <= p50 <= p90 and all are finite.
    """

    p10: float
    p50: float
    p90: float

    def __post_init__(self) -> None:
        if not (0 <= self.p10 <= self.p50 <= self.p90) or not math.isfinite(self.p90):
            raise ValueError(f"a band must be ordered and finite: {self.p10}, {self.p50}, {self.p90}")

    def scaled(self, factor: float) -> Band:
        """The band times a factor >= 0."""
        return Band(self.p10 * factor, self.p50 * factor, self.p90 * factor)
