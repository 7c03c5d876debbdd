"""A workload's model sold by the token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyfleet.catalog.store import Catalog
from polyfleet.plan.own_options import supplier_allowed
from polyfleet.plan.problem import Hosted, Supplier
from polyfleet.terms.demand import Bucket
from polyfleet.terms.offer import HostedOffer
from polyfleet.terms.spec import Policy


def hosted_options(
    w: int, model: str, buckets: Sequence[Bucket], batch: bool, catalog: Catalog, policy: Policy, sharers: int
) -> list[Hosted]:
    """Hosted offers of a model that the policy allows. A published rate limit is split evenly over the workloads that
    use the model (`sharers`), which is on the safe side."""
    by_region = policy.max_share.region is not None or (policy.survive is not None and "region" in policy.survive.lose)
    known = {o.region for o in catalog.offers}
    found = []
    for offer in catalog.sold(model):
        if supplier_allowed(offer, policy, known):
            supplier = Supplier(offer.provider, offer.chip_vendor, offer.region if by_region else "")
            spend = np.array([_usd(offer, bucket, batch) for bucket in buckets])
            limit = np.array([_limit_per_s(offer, bucket) for bucket in buckets]) / sharers
            if np.isfinite(spend).any() and (limit > 0).any():
                found.append(Hosted(w, supplier, offer.id, spend, limit))
    return found


def _usd(offer: HostedOffer, bucket: Bucket, batch: bool) -> float:
    """USD per request; inf where the request is too long for the host."""
    if offer.max_input_tokens is not None and bucket.input_tokens > offer.max_input_tokens:
        return float("inf")
    if offer.max_output_tokens is not None and bucket.output_tokens > offer.max_output_tokens:
        return float("inf")
    rate_in, rate_out = offer.usd_per_million_input, offer.usd_per_million_output
    if batch and offer.usd_per_million_batch_input is not None and offer.usd_per_million_batch_output is not None:
        rate_in, rate_out = offer.usd_per_million_batch_input, offer.usd_per_million_batch_output
    rate_cached = rate_in if offer.usd_per_million_cached_input is None else offer.usd_per_million_cached_input
    fresh = bucket.input_tokens - bucket.cached_tokens
    usd = (fresh * rate_in + bucket.cached_tokens * min(rate_cached, rate_in) + bucket.output_tokens * rate_out) / 1e6
    return max(usd, 1e-9)  # a free tier is no price to plan on, and a zero would make its spend unbounded


def _limit_per_s(offer: HostedOffer, bucket: Bucket) -> float:
    tokens = bucket.input_tokens + bucket.output_tokens
    by_tokens = np.inf if offer.tokens_per_minute is None else offer.tokens_per_minute / 60.0 / max(tokens, 1.0)
    by_requests = np.inf if offer.requests_per_minute is None else offer.requests_per_minute / 60.0
    return float(min(by_tokens, by_requests))
