"""Figures and names as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from polyfleet.terms.plan import Line, Plan


def usd(amount: float) -> str:
    """Whole dollars with separators; cents below a hundred dollars."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}${size:,.2f}" if 0 < size < 100 else f"{sign}${size:,.0f}"


def figure(value: float) -> str:
    """Three significant digits, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def count(by_window: Sequence[int]) -> str:
    """`4`, or `2-6` where it follows the day."""
    low, high = min(by_window), max(by_window)
    return str(high) if low == high else f"{low}-{high}"


def line_name(line: Line) -> str:
    """What a line is, without its workload: `aws 8xH100-SXM fp8 vllm`, `groq hosted`."""
    return f"{line.provider} {line.build}" if line.kind == "own" else f"{line.provider} hosted"


def who_serves(line: Line) -> str:
    """The chip and the provider that serve, whatever the layout: `H100-SXM on aws`, `groq hosted`."""
    return f"{line.chip} on {line.provider}" if line.kind == "own" else f"{line.provider} hosted"


def traffic(line: Line) -> str:
    """The share of its workload's traffic that a line serves; `standby` where it only stands by for losses."""
    return "standby" if line.traffic_share < 5e-4 else f"{line.traffic_share:.0%}"


def speed_costs(plan: Plan) -> str:
    """What the plan's lines would cost at the P10 and at the P90 of their speeds: `$1,500 / $900`."""
    ends = (plan.usd_per_month_speed_p10, plan.usd_per_month_speed_p90)
    return " / ".join("promise not kept" if end is None else usd(end) for end in ends)


def price_age(as_of: str, today: date) -> str:
    """`2026-01-21 (307 days)`, or `undated`."""
    if not as_of:
        return "undated"
    return f"{as_of} ({(today - date.fromisoformat(as_of[:10])).days} days)"
