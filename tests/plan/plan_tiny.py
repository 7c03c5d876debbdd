"""Tiny problems drawn from a seed: small enough to try every plan."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.problem import Box, Cap, Hosted, Limits, Loss, Need, Option, Problem, Quota, Step, Supplier
from polyfleet.terms.build import Build
from polyfleet.terms.offer import Purchase
from polyfleet.terms.precision import Precision


def tiny(seed: int) -> Problem:
    """One or two windows, one or two workloads, up to three boxes, up to four options, sometimes a host, batch work,
    caps, losses and quotas."""
    rng = np.random.default_rng(seed)
    windows = int(rng.choice([1, 1, 2]))
    buckets = int(rng.integers(1, 3))
    works = int(rng.integers(1, 3))
    hours = rng.dirichlet(np.full(windows, 5.0)) * 730.0
    needs = [_need(f"w{w}", windows, buckets, rng) for w in range(works)]
    if works == 2 and rng.uniform() < 0.3:
        runs = np.ones((windows, 1))
        runs[0] = windows == 1 or rng.uniform() < 0.5
        needs[1] = Need("w1", runs * rng.uniform(0.2, 1.5), np.ones(windows), np.array([700.0]), is_batch=True)
    boxes = tuple(_box(b, windows, rng) for b in range(int(rng.integers(2, 5))))
    options = tuple(_options(needs, boxes, windows, rng))
    hosted = tuple(_host(w, n, rng) for w, n in enumerate(needs) if rng.uniform() < 0.4)
    return Problem(
        tuple(f"t{t}" for t in range(windows)), hours, tuple(needs), boxes, options, hosted,
        _limits(boxes, hosted, works, rng),
    )  # fmt: skip


def _need(name: str, windows: int, buckets: int, rng: np.random.Generator) -> Need:
    rate = rng.uniform(0.1, 1.2, (windows, buckets))
    return Need(name, rate, rng.uniform(1.0, 1.5, windows), rng.uniform(200, 2000, buckets))


def _box(b: int, windows: int, rng: np.random.Generator) -> Box:
    supplier = Supplier(f"p{b % 3}", f"v{rng.integers(2)}")
    most = 2 if windows == 1 else 1
    usd = float(rng.uniform(1, 4))
    steps = [Step(f"offer{b}", usd, most)]
    if rng.uniform() < 0.3:
        steps = [Step(f"offer{b}", usd, 1), Step(f"offer{b}dear", usd * 1.3, most)]
    purchase = Purchase.RESERVED_1Y if rng.uniform() < 0.25 else Purchase.ON_DEMAND
    return Box(supplier, f"chip{b}", int(rng.choice([1, 2])), purchase, tuple(steps))


def _options(needs: list[Need], boxes: tuple[Box, ...], windows: int, rng: np.random.Generator) -> list[Option]:
    found: list[Option] = []
    for b, box in enumerate(boxes):
        for w, need in enumerate(needs):
            if len(found) < (5 if windows == 1 else 4) and rng.uniform() < 0.9:
                chips = int(rng.choice([c for c in (1, 2) if c <= box.chips]))
                capacity = rng.uniform(0.8, 5.0, need.tokens.size) * chips
                capacity[rng.uniform(size=capacity.size) < 0.07] = 0.0
                build = Build("m", box.chip, chips, "e", Precision.BF16, Precision.BF16)
                found.append(Option(w, b, build, chips, capacity, capacity * float(rng.uniform(1.0, 1.6))))
    return found


def _host(w: int, need: Need, rng: np.random.Generator) -> Hosted:
    usd = need.tokens * float(rng.uniform(0.2e-6, 3e-6))
    limit = np.full(need.tokens.size, np.inf) if rng.uniform() < 0.5 else rng.uniform(0.5, 3.0, need.tokens.size)
    return Hosted(w, Supplier(f"p{rng.integers(4)}", f"v{rng.integers(2)}"), f"host{w}", usd, limit)


def _limits(boxes: tuple[Box, ...], hosted: tuple[Hosted, ...], works: int, rng: np.random.Generator) -> Limits:
    suppliers = {b.supplier for b in boxes} | {h.supplier for h in hosted}
    caps, losses = [], []
    for kind in ("provider", "chip_vendor"):
        names = sorted({s.named(kind) for s in suppliers})
        if rng.uniform() < 0.4:
            share = float(rng.uniform(0.55, 0.95))
            caps += [Cap(kind, n, share, tuple(range(works))) for n in names]  # type: ignore[arg-type]
        if rng.uniform() < 0.4:
            losses += [Loss(kind, n) for n in names]  # type: ignore[arg-type]
    quotas = tuple(Quota(b.supplier.provider, b.chip, int(rng.integers(2, 5))) for b in boxes if rng.uniform() < 0.2)
    return Limits(tuple(caps), tuple(losses), float(rng.choice([1.0, 0.6])), quotas)
