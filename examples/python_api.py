"""Plan from Python: how the cost of chat moves with its latency promise."""

import polyfleet
from polyfleet.errors import InfeasibleError
from polyfleet.terms.spec_text import parse_source

SPEC = """
workloads:
  chat:
    model: Qwen/Qwen3-32B
    precision: [bf16, fp8]
    traffic: {{rate: 3/s, input: 900, output: 200}}
    slo: {{ttft: 2s p95, tpot: {tpot} p95}}
policy: {{regions: [us, eu], hosted: forbidden}}
"""


def cost_by_promise(promises: list[str]) -> dict[str, float | None]:
    """USD a month by promised time per output token; None where no chip keeps the promise."""
    found: dict[str, float | None] = {}
    for tpot in promises:
        try:
            plan = polyfleet.make_plan(parse_source(SPEC.format(tpot=tpot)))
        except InfeasibleError as error:
            print(f"{tpot}: {error}")
            found[tpot] = None
        else:
            best = max(plan.lines, key=lambda line: line.traffic_share)
            print(f"{tpot}: {plan.usd_per_month:,.0f} USD a month, mostly {best.build} on {best.provider}")
            found[tpot] = plan.usd_per_month
    return found


if __name__ == "__main__":
    cost_by_promise(["60ms", "40ms", "20ms", "2ms"])
