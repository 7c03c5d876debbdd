"""Problems drawn from a seed, for tests and benchmarks: chips, providers and speeds in realistic proportion, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyfleet.plan.problem import (
    Box,
    Cap,
    Floats,
    Hosted,
    Limits,
    Loss,
    Need,
    Option,
    Problem,
    Step,
    Supplier,
    packed_chips,
)
from polyfleet.terms.build import Build
from polyfleet.terms.offer import Purchase
from polyfleet.terms.precision import Precision


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a drawn problem is. `rate_per_s` is the mean of each workload; `hosts` per workload."""

    workloads: int = 2
    windows: int = 1
    buckets: int = 16
    providers: int = 8
    vendors: int = 4
    chips: int = 16
    rate_per_s: float = 10.0
    cap: float | None = 0.6
    survive: tuple[str, ...] = ("provider", "chip_vendor")
    slo_factor: float = 1.5
    hosts: int = 0
    purchases: tuple[Purchase, ...] = (Purchase.ON_DEMAND,)


def draw(shape: Shape, seed: int) -> Problem:
    """A problem of a shape. Chip strength varies 20-fold, price per strength 2-fold; a chip's strength per bucket is a
    mix of compute (input tokens) and bandwidth (output tokens)."""
    rng = np.random.default_rng(seed)
    vendors = [f"vendor{v}" for v in range(shape.vendors)]
    providers = [f"cloud{p}" for p in range(shape.providers)]
    chips = [_Chip(f"chip{c}", vendors[c % shape.vendors], rng) for c in range(shape.chips)]
    lengths = [_lengths(shape, rng) for _ in range(shape.workloads)]
    needs = tuple(_need(f"work{w}", shape, lengths[w], rng) for w in range(shape.workloads))
    boxes = tuple(_boxes(chips, providers, shape, rng))
    sizes = rng.choice([1, 2, 4, 8], size=shape.workloads)
    options = tuple(_options(lengths, boxes, chips, sizes, shape))
    hosted = tuple(_hosted(needs, vendors, shape, rng))
    suppliers = {*(b.supplier for b in boxes), *(h.supplier for h in hosted)}
    return Problem(
        tuple(f"w{t}" for t in range(shape.windows)), np.full(shape.windows, 730.0 / shape.windows), needs, boxes,
        options, hosted, _limits(shape, suppliers),
    )  # fmt: skip


class _Chip:
    def __init__(self, name: str, vendor: str, rng: np.random.Generator) -> None:
        self.name, self.vendor = name, vendor
        self.strength = float(np.exp(rng.uniform(0, 3)))
        self.compute = self.strength * float(rng.uniform(0.6, 1.6))
        self.bandwidth = self.strength * float(rng.uniform(0.6, 1.6))
        self.memory = int(rng.choice([1, 2, 4]))
        self.usd = 0.35 * self.strength ** float(rng.uniform(0.8, 1.05))


def _lengths(shape: Shape, rng: np.random.Generator) -> Floats:
    """(2, B) input and output tokens."""
    return np.exp(np.stack([rng.normal(6.5, 1.2, shape.buckets), rng.normal(5.0, 1.0, shape.buckets)]))


def _need(name: str, shape: Shape, lengths: Floats, rng: np.random.Generator) -> Need:
    weight = rng.dirichlet(np.full(shape.buckets, 0.7))
    day = 1.0 + 0.6 * np.sin(2 * np.pi * (np.arange(shape.windows) / max(shape.windows, 2) + rng.uniform()))
    mix = weight * np.exp(rng.normal(0, 0.1, (shape.windows, shape.buckets)))
    rate = shape.rate_per_s * day[:, None] * mix / mix.sum(axis=1, keepdims=True)
    in_flight = np.maximum(rate.sum(axis=1) * 8.0, 1e-9)
    return Need(name, rate, 1.0 + 1.645 / np.sqrt(in_flight), lengths.sum(axis=0))


def _boxes(chips: list[_Chip], providers: list[str], shape: Shape, rng: np.random.Generator) -> list[Box]:
    found = []
    for provider in providers:
        for chip in chips:
            if rng.uniform() > 0.45:
                continue
            rate = chip.usd * float(rng.uniform(0.8, 1.6))
            for count in ([8], [1, 8], [1, 2, 4, 8])[int(rng.integers(3))]:
                for purchase in shape.purchases:
                    usd = rate * count * _DISCOUNT[purchase]
                    step = Step(f"{provider}/{chip.name}/{count}/{purchase}", usd)
                    found.append(Box(Supplier(provider, chip.vendor), chip.name, count, purchase, (step,)))
    return found


_DISCOUNT = {
    Purchase.ON_DEMAND: 1.0, Purchase.SPOT: 0.45, Purchase.RESERVED_1Y: 0.65, Purchase.RESERVED_3Y: 0.45,
    Purchase.CAPACITY_BLOCK: 0.8, Purchase.PER_TOKEN: 1.0,
}  # fmt: skip


def _options(
    lengths: list[Floats], boxes: tuple[Box, ...], chips: list[_Chip], sizes: NDArray[np.int64], shape: Shape
) -> list[Option]:
    by_name = {c.name: c for c in chips}
    found = []
    for w, tokens in enumerate(lengths):
        for b, box in enumerate(boxes):
            chip = by_name[box.chip]
            for count in (1, 2, 4, 8):
                packed = packed_chips(count, box.chips)
                if not packed or count * chip.memory < sizes[w]:
                    continue
                scale = count ** (0.9 if count < 8 else 0.85)
                capacity = scale * _capacity(chip, tokens)
                build = Build(f"m{w}", box.chip, count, "engine", Precision.BF16, Precision.BF16)
                lost = capacity * (1.0 + 0.3 * (shape.slo_factor - 1.0))
                found.append(Option(w, b, build, packed, capacity, lost))
    return found


def _capacity(chip: _Chip, tokens: Floats) -> Floats:
    inputs, outputs = tokens
    seconds = inputs / (6000.0 * chip.compute) + outputs / (350.0 * chip.bandwidth)
    capacity: Floats = 1.0 / seconds
    return capacity


def _hosted(needs: tuple[Need, ...], vendors: list[str], shape: Shape, rng: np.random.Generator) -> list[Hosted]:
    found = []
    for w, need in enumerate(needs):
        for h in range(shape.hosts):
            price = 0.3e-6 * float(np.exp(rng.uniform(0, 1.5)))
            supplier = Supplier(f"host{h}", vendors[int(rng.integers(len(vendors)))])
            limit = np.full(need.tokens.size, np.inf)
            found.append(Hosted(w, supplier, f"host{h}/m{w}", need.tokens * price, limit))
    return found


def _limits(shape: Shape, suppliers: set[Supplier]) -> Limits:
    everyone = tuple(range(shape.workloads))
    names = {kind: sorted({s.named(kind) for s in suppliers}) for kind in ("provider", "chip_vendor")}
    caps = [Cap("provider", n, shape.cap, everyone) for n in names["provider"] if shape.cap is not None]
    caps += [Cap("chip_vendor", n, shape.cap, everyone) for n in names["chip_vendor"] if shape.cap is not None]
    losses = [Loss("provider", n) for n in names["provider"] if "provider" in shape.survive]
    losses += [Loss("chip_vendor", n) for n in names["chip_vendor"] if "chip_vendor" in shape.survive]
    return Limits(tuple(caps), tuple(losses))
