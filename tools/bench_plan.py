"""Time the plan: two traces at four rates, ten workloads over a day, and an impossible spec.

    python tools/bench_plan.py TRACES_FOLDER [--only two|ten|impossible] [--hosted allowed|forbidden] [--scale 10]

TRACES_FOLDER holds azure_2023_conv.csv and azure_2023_code.csv. Prints a table with the machine and versions.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path

from polyfleet.catalog.models import find_model
from polyfleet.catalog.store import load_catalog
from polyfleet.errors import InfeasibleError
from polyfleet.plan import make_plan
from polyfleet.plan.solver import VERSION
from polyfleet.speed import load_speed_model
from polyfleet.terms.demand import Demand
from polyfleet.terms.lengths import parse_lengths
from polyfleet.terms.spec import Spec
from polyfleet.terms.spec_text import parse_spec
from polyfleet.traffic.from_rate import demand_from_rate
from polyfleet.traffic.summarise import summarise

POLICY = """
policy:
  max_share: {{provider: 60%, chip_vendor: 60%}}
  survive: {{lose: [provider, chip_vendor], keep: 100%, slo: 1.5x}}
  hosted: {hosted}
"""
TWO = """
workloads:
  chat:
    model: meta-llama/Llama-3.3-70B-Instruct
    precision: [bf16, fp8]
    traffic: {{trace: azure_2023_conv.csv}}
    slo: {{ttft: {ttft} p95, tpot: {tpot} p95}}
  code:
    model: openai/gpt-oss-120b
    traffic: {{trace: azure_2023_code.csv}}
    slo: {{ttft: {ttft} p95, tpot: {tpot} p95}}
"""
TEN = (
    ("meta-llama/Llama-3.3-70B-Instruct", "[bf16, fp8]", 60, "lognormal(900, 2.2)", "lognormal(180, 2.0)"),
    ("openai/gpt-oss-120b", "mxfp4", 120, "lognormal(1800, 2.4)", "lognormal(250, 2.2)"),
    ("openai/gpt-oss-20b", "mxfp4", 200, "lognormal(600, 2.5)", "lognormal(120, 2.0)"),
    ("Qwen/Qwen3-32B", "[bf16, fp8]", 50, "lognormal(1200, 2.2)", "lognormal(300, 2.2)"),
    ("Qwen/Qwen3-8B", "[bf16, fp8]", 150, "lognormal(500, 2.0)", "lognormal(150, 2.0)"),
    ("meta-llama/Llama-3.1-8B-Instruct", "[bf16, fp8]", 180, "lognormal(700, 2.3)", "lognormal(90, 1.8)"),
    ("Qwen/Qwen3-30B-A3B", "[bf16, fp8]", 80, "lognormal(1500, 2.0)", "lognormal(200, 2.1)"),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "[bf16, fp8]", 40, "lognormal(800, 2.0)", "lognormal(220, 2.0)"),
    ("Qwen/Qwen3-235B-A22B", "[bf16, fp8]", 25, "lognormal(1400, 2.1)", "lognormal(350, 2.0)"),
    ("meta-llama/Llama-3.1-70B-Instruct", "[bf16, fp8]", 30, "lognormal(1000, 2.0)", "lognormal(160, 2.0)"),
)


def main() -> None:
    arguments = _arguments()
    print(f"{_processor()}, {platform.system()}, Python {platform.python_version()}, {VERSION}, one thread")
    print(f"{'case':44s} {'s build':>8s} {'s solve':>8s} {'gap':>7s} {'USD/month':>14s}  status")
    if arguments.only in (None, "two"):
        _two(arguments)
    if arguments.only in (None, "ten"):
        _ten(arguments)
    if arguments.only in (None, "impossible"):
        _impossible(arguments)


def _two(arguments: argparse.Namespace) -> None:
    spec = parse_spec((TWO + POLICY).format(ttft=arguments.ttft, tpot=arguments.tpot, hosted=arguments.hosted))
    traces = {
        "chat": summarise(arguments.traces / "azure_2023_conv.csv"),
        "code": summarise(arguments.traces / "azure_2023_code.csv"),
    }
    for rate in (1, 10, 100, 1000):
        demands = {n: replace(d, rate_per_s=d.rate_per_s / d.rate_per_s.sum() * rate) for n, d in traces.items()}
        _row(f"two traces, {rate:,d} requests/s each, hosted {arguments.hosted}", spec, demands, 0.01)


def _ten(arguments: argparse.Namespace) -> None:
    rows = "".join(
        f"  w{i}:\n    model: {m}\n    precision: {p}\n    traffic: {{rate: {r}/s, input: '{a}', output: '{b}', "
        f"shape: daily}}\n    slo: {{ttft: {arguments.ttft} p95, tpot: {arguments.tpot} p95}}\n"
        for i, (m, p, r, a, b) in enumerate(TEN)
    )
    spec = parse_spec("workloads:\n" + rows + POLICY.format(hosted=arguments.hosted))
    demands = {
        f"w{i}": demand_from_rate(r * arguments.scale, parse_lengths(a), parse_lengths(b), "daily", buckets=64)
        for i, (_, _, r, a, b) in enumerate(TEN)
    }
    for gap in (0.03, 0.01):
        _row(
            f"10 workloads x 24 windows x 64, gap {gap:.0%}, {arguments.hosted}", spec, demands, gap, arguments.verbose
        )


def _impossible(arguments: argparse.Namespace) -> None:
    """60 % caps on two providers of one vendor, while the other vendor's chips are excluded."""
    text = TWO + POLICY + "  exclude: {{chip_vendor: [amd, aws, google, qualcomm]}}\n"
    spec = parse_spec(text.format(ttft=arguments.ttft, tpot=arguments.tpot, hosted="forbidden"))
    traces = {
        "chat": summarise(arguments.traces / "azure_2023_conv.csv"),
        "code": summarise(arguments.traces / "azure_2023_code.csv"),
    }
    from polyfleet.plan import explain

    seconds = 0.0
    refuse = explain.refuse

    def timed(*given: object) -> None:
        nonlocal seconds
        start = time.perf_counter()
        try:
            refuse(*given)  # type: ignore[arg-type]
        finally:
            seconds = time.perf_counter() - start

    import polyfleet.plan.make as made

    made.refuse = timed  # type: ignore[assignment]
    start = time.perf_counter()
    try:
        make_plan(spec, traces, load_catalog(), load_speed_model(), find_model)
    except InfeasibleError as error:
        whole = time.perf_counter() - start
        print(f"{'impossible spec':44s} in all {whole:.2f} s, explained in {seconds:.2f} s: {error}")


def _row(case: str, spec: Spec, demands: dict[str, Demand], gap: float, verbose: bool = False) -> None:
    catalog, speed = load_catalog(), load_speed_model()
    start = time.perf_counter()

    def tell(text: str) -> None:
        print(f"  {time.perf_counter() - start:6.1f} s {text}", flush=True)

    plan = make_plan(spec, demands, catalog, speed, find_model, gap=gap, progress=tell if verbose else None)
    facts = plan.solver
    print(
        f"{case:44s} {facts.seconds_build:8.2f} {time.perf_counter() - start - facts.seconds_build:8.2f} "
        f"{plan.gap:7.2%} {plan.usd_per_month:14,.0f}  {plan.status}", flush=True,
    )  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the plan.")
    parser.add_argument("traces", type=Path)
    parser.add_argument("--only", choices=["two", "ten", "impossible"])
    parser.add_argument("--hosted", choices=["allowed", "forbidden"], default="allowed")
    parser.add_argument("--scale", type=float, default=10.0, help="multiplies the ten workloads' rates")
    parser.add_argument("--ttft", default="2s")
    parser.add_argument("--tpot", default="60ms")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


if __name__ == "__main__":
    sys.exit(main())
