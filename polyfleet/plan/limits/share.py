"""Most of the traffic that one supplier may carry, and most of it on spot."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.problem import Cap
from polyfleet.plan.sheet import Sheet


def limit_share_by_provider(sheet: Sheet) -> None:
    """Tokens served on a provider's chips and hosts <= its share of the month's tokens."""
    _limit_shares(sheet, "provider")


def limit_share_by_chip_vendor(sheet: Sheet) -> None:
    """Tokens served on a vendor's chips <= its share of the month's tokens."""
    _limit_shares(sheet, "chip_vendor")


def limit_share_by_region(sheet: Sheet) -> None:
    """Tokens served in a region <= its share of the month's tokens."""
    _limit_shares(sheet, "region")


def limit_spot_share(sheet: Sheet) -> None:
    """Tokens served on spot instances <= their share of the named workloads' tokens."""
    _limit_shares(sheet, "spot")


def _limit_shares(sheet: Sheet, kind: str) -> None:
    for c, cap in enumerate(sheet.problem.limits.caps):
        if cap.kind == kind and np.isfinite(sheet.block.cap_tokens[c]):
            _limit_share(sheet, c, cap)


def _limit_share(sheet: Sheet, c: int, cap: Cap) -> None:
    """Counted in shares of what the cap is a share of, so that the row is well scaled."""
    columns, values = [], []
    whole = max(sheet.problem.cap_tokens(cap), 1e-12)
    for w, stack in enumerate(sheet.stacks):
        for s in np.flatnonzero(stack.caps == c):
            columns.append(sheet.columns.share[w][:, s])
            values.append(share_tokens(sheet, w) / whole)
    if columns:
        upper = float(sheet.block.cap_tokens[c]) / whole
        sheet.row(cap.name, np.concatenate(columns), np.concatenate(values), upper=upper)


def share_tokens(sheet: Sheet, w: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(F,) tokens a month that a share of 1 stands for in each window of the block: served, without headroom."""
    stack, windows = sheet.stacks[w], list(sheet.block.windows)
    need = stack.need
    per_s = token_scale(sheet, w) / need.headroom[windows]
    tokens: np.ndarray[tuple[int], np.dtype[np.float64]] = per_s * sheet.problem.hours[windows] * 3600.0
    return tokens


def token_scale(sheet: Sheet, w: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(F,) staffed tokens per second that a share of 1 stands for."""
    need, windows = sheet.stacks[w].need, list(sheet.block.windows)
    return np.maximum(need.staffed_per_s[windows] @ need.tokens, 1e-12)
