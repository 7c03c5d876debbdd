"""Mélange's case: Llama-2-7b on L4, A10G, A100-80G and H100, a mix against one GPU type.

    python tools/bench_melange.py

The case is of Griggs et al., arXiv 2404.14527: TPOT 40 and 120 ms (means, as the paper averages them), chat, document
and mixed sizes, 1 to 32 requests per second; GPUs as rentals by the piece at the prices below. Speeds are this
project's speed model, not the paper's measurements; sizes are lognormal stand-ins for its data sets. Prints, per case,
the plan's saving against the cheapest plan of each GPU type alone, beside the paper's range.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

from polyfleet.catalog.chips import load_chips
from polyfleet.catalog.models import find_model
from polyfleet.plan.make import solve
from polyfleet.plan.problem import Box, Floats, Limits, Need, Option, Problem, Step, Supplier
from polyfleet.plan.restrict import keeping, unserved
from polyfleet.plan.solver import VERSION
from polyfleet.speed import load_speed_model
from polyfleet.terms.build import Build
from polyfleet.terms.demand import Demand
from polyfleet.terms.lengths import parse_lengths
from polyfleet.terms.offer import Purchase
from polyfleet.terms.precision import Precision
from polyfleet.terms.slo import Slo
from polyfleet.traffic.from_rate import demand_from_rate

# USD per GPU-hour (on-demand prices of early 2024). Only the A100's was read at a source, the authors' own example
# configuration; the other three are recalled from the paper and were not opened again.
USD_PER_HOUR = {"L4": 0.70, "A10G": 1.01, "A100-SXM-80GB": 3.67, "H100-SXM": 7.516}
SIZES = {
    "chat": (("lognormal(120, 3.0)", "lognormal(150, 2.3)", 1.0),),
    "document": (("lognormal(2200, 1.5)", "lognormal(240, 1.6)", 1.0),),
    "mixed": (
        ("lognormal(120, 3.0)", "lognormal(150, 2.3)", 0.8),
        ("lognormal(2200, 1.5)", "lognormal(240, 1.6)", 0.2),
    ),
}
PAPER = {
    ("chat", 120): (15, 77), ("chat", 40): (9, 68), ("document", 120): (15, 33), ("document", 40): (2, 22),
    ("mixed", 120): (13, 51), ("mixed", 40): (4, 51),
}  # fmt: skip
RATES = (1, 2, 4, 8, 16, 32)
CONTEXT = 4096


def main() -> None:
    start = time.perf_counter()
    print(f"{platform.system()}, Python {platform.python_version()}, {VERSION}")
    print(
        f"{'sizes':9s} {'TPOT':>6s} {'saving against each GPU type alone, least to most':52s} {'paper':>9s}  best alone"
    )
    for sizes, parts in SIZES.items():
        for tpot_ms in (120, 40):
            _case(sizes, parts, tpot_ms)
    _best_by_size()
    print(f"in all {time.perf_counter() - start:.1f} s")


def _case(sizes: str, parts: tuple[tuple[str, str, float], ...], tpot_ms: int) -> None:
    savings: dict[str, list[float]] = {}
    cheapest = []
    for rate in RATES:
        problem = _problem(
            [demand_from_rate(rate * p, parse_lengths(i), parse_lengths(o)) for i, o, p in parts], tpot_ms
        )
        mix = solve(problem, gap=0.001).usd
        alone = {c: _alone(problem, c) for c in USD_PER_HOUR}
        cheapest.append(min(alone, key=lambda c: alone[c]))
        for chip, usd in alone.items():
            if np.isfinite(usd):
                savings.setdefault(chip, []).append(100 * (1 - mix / usd))
    told = ", ".join(f"{c.split('-')[0]} {min(s):.0f}-{max(s):.0f} %" for c, s in savings.items())
    low, high = PAPER[sizes, tpot_ms]
    best = " ".join(c.split("-")[0] for c in cheapest)
    print(f"{sizes:9s} {tpot_ms:4d}ms {told:52s} {low:2d}-{high:2d} %  {best}")


def _alone(problem: Problem, chip: str) -> float:
    one = keeping(problem, lambda b: b.chip == chip)
    return float("inf") if unserved(one) else solve(one, gap=0.001).usd


def _problem(demands: list[Demand], tpot_ms: float) -> Problem:
    """One workload, no headroom (the paper has none), one GPU a rental, requests cut at the model's context."""
    buckets = [b for d in demands for b in d.buckets if b.input_tokens + b.output_tokens <= CONTEXT]
    kept = [np.array([b.input_tokens + b.output_tokens <= CONTEXT for b in d.buckets]) for d in demands]
    rate = np.concatenate([d.rate_per_s[0][k] for d, k in zip(demands, kept, strict=True)])
    tokens = np.array([b.input_tokens + b.output_tokens for b in buckets])
    need = Need("llama", rate[None, :], np.ones(1), tokens)
    capacity = _capacity(buckets, tpot_ms)
    boxes = tuple(
        Box(Supplier("any", "nvidia"), c, 1, Purchase.ON_DEMAND, (Step(c, usd),)) for c, usd in USD_PER_HOUR.items()
    )
    options = tuple(
        Option(0, i, _build(c), 1, capacity[c], capacity[c]) for i, c in enumerate(USD_PER_HOUR) if capacity[c].any()
    )
    return Problem(("all hours",), np.array([730.0]), (need,), boxes, options, (), Limits())


def _build(chip: str) -> Build:
    return Build("meta-llama/Llama-2-7b-hf", chip, 1, "vllm", Precision.BF16, Precision.BF16)


def _capacity(buckets: list, tpot_ms: float) -> Mapping[str, Floats]:  # type: ignore[type-arg]
    speed, model, chips = load_speed_model(), find_model("meta-llama/Llama-2-7b-hf"), load_chips()
    slo = Slo(tpot_ms=tpot_ms, tpot_percentile=50.0)
    return {
        c: np.array([s.requests_per_s.p50 for s in speed.capacity(model, chips[c], _build(c), buckets, slo)])
        for c in USD_PER_HOUR
    }


def _best_by_size() -> None:
    """The GPU type with most tokens per USD, by request size, without a promise, at 120 ms and at 40 ms."""
    from polyfleet.terms.demand import Bucket

    sides = (25, 100, 250, 500, 1000, 2000)
    buckets = [Bucket(float(i), float(o)) for i in sides for o in sides]
    for tpot_ms in (120.0, 40.0):
        capacity = _capacity(buckets, tpot_ms)
        per_usd = {c: v / USD_PER_HOUR[c] for c, v in capacity.items()}
        print(f"\nmost requests per USD at TPOT {tpot_ms:.0f} ms; rows input, columns output tokens {sides}")
        for i, size in enumerate(sides):
            names = [max(per_usd, key=_at(per_usd, i * len(sides) + j)) for j in range(len(sides))]
            print(f"{size:6d}  " + "  ".join(f"{n.split('-')[0]:5s}" for n in names))


def _at(table: Mapping[str, Floats], place: int) -> Callable[[str], float]:
    return lambda name: float(table[name][place])


if __name__ == "__main__":
    sys.exit(main())
