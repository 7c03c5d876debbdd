"""Routing projected out: what capacity is worth at given bucket prices.

For any prices pi >= 0 of a bucket's request and lam >= 0 of a capped token, demand valued at the prices cannot exceed
capacity valued at them (linear-programming duality; Benders, Numer. Math. 4, 1962). A replica is worth the best bucket
it could serve: max_b capacity_b (pi_b - tokens_b lam). The rows hold no money, so they outlive a change of prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.plan.problem import Bools, Floats
from polyfleet.plan.stack import Stack


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Prices found by a routing LP: `bucket` (B,), `capped` (S,) per token and second of a cap, `host` (H,) of a
    host's rate limit."""

    bucket: Floats
    capped: Floats
    host: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """own @ replicas + hosted @ spend + capped @ shares + constant >= bucket @ demand, the base case of one window.

    Spend is in USD per second of staffed traffic, shares in staffed tokens per second.
    """

    own: Floats
    hosted: Floats
    capped: Floats
    constant: float
    bucket: Floats


def base_cut(stack: Stack, prices: Prices) -> Cut:
    """The cut that prices give for the base case; valid for every window."""
    own_net = _net(stack, prices, stack.capped_own)
    hosted_net = _net(stack, prices, stack.capped_hosted)
    own = _best(stack.capacity * own_net)
    with np.errstate(divide="ignore", invalid="ignore"):
        held = np.where(np.isfinite(stack.limit), prices.host[:, None] / stack.limit, 0.0)
        worth = np.where(np.isfinite(stack.spend), (hosted_net - held) / stack.spend, 0.0)
    return Cut(own, _best(worth), prices.capped, float(prices.host.sum()), prices.bucket)


def loss_cut(stack: Stack, bucket: Floats, loss: int) -> Cut:
    """The cut for one loss: what survives, valued at bucket prices, against demand valued at them.

    Hosts without a limit take their buckets for nothing until the loss happens; those buckets are left out.
    """
    price = np.where(stack.open_buckets[loss], bucket, 0.0)
    own = np.where(stack.lost_own[loss], 0.0, _best(stack.capacity_lost * price))
    standing = stack.limited & ~stack.lost_hosted[loss]
    reach = np.where(np.isfinite(stack.limit) & np.isfinite(stack.spend), stack.limit, 0.0)
    constant = float(_best(reach * price)[standing].sum())
    return Cut(own, np.zeros(stack.hosted.size), np.zeros(stack.caps.size), constant, price)


def _net(stack: Stack, prices: Prices, capped: Bools) -> Floats:
    """(options, B) what serving a request earns once its capped tokens are paid."""
    toll = capped.T.astype(float) @ prices.capped if prices.capped.size else np.zeros(capped.shape[1])
    net: Floats = prices.bucket[None, :] - toll[:, None] * stack.need.tokens[None, :]
    return net


def _best(worth: Floats) -> Floats:
    if worth.size == 0:
        return np.zeros(worth.shape[0])
    best: Floats = np.maximum(worth.max(axis=1), 0.0)
    return best
