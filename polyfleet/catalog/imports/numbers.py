"""Figures as lists write them."""

from __future__ import annotations

import math
from typing import Any


def price_of(text: Any) -> float | None:
    """A price above zero, None where there is none or it is no number."""
    value = figure(text)
    return value if value is not None and value > 0 else None


def figure(text: Any) -> float | None:
    """A finite number that is not negative, None where it is none. `1,152 GiB` is 1152."""
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, str):
        text = text.removesuffix("GiB").replace(",", "").strip()
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def rounded(usd_per_hour: float) -> float:
    """To a millionth of a dollar: lists state no more, and sums of floats would."""
    return round(usd_per_hour, 6)
