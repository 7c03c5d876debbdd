"""Plans for the tests of manifests: a true one, and small ones made by hand."""

from pathlib import Path

from polyfleet import api
from polyfleet.launch.manifests import Choice, plan_fleet, render
from polyfleet.launch.manifests.kubernetes import InCluster
from polyfleet.launch.manifests.weights_from import parse_weights_from
from polyfleet.terms import plan as terms

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "two-models.yaml"
FP8 = {"chat/fp8": "nvidia/Llama-3.3-70B-Instruct-FP8"}
"""What the example's TPU line needs: its chip has no way to quantise a bf16 checkpoint as it is loaded."""


def line(number, build, offer, replicas, *, workload="chat", purchase="on_demand"):
    """A line whose chip, count and place are those of its build and offer."""
    provider, region, _, _ = offer.split(":")
    layout, precision, engine = build.split()[:3]
    chips, chip = layout.split("x", 1)
    return terms.Line(
        id=number, kind="own", workload=workload, offers=(offer,), provider=provider, chip_vendor="nvidia",
        region=region, purchase=purchase, chip=chip, chips_per_replica=int(chips), build=build, engine=engine,
        precision=precision, replicas=tuple(replicas), traffic_share=1.0, usd_per_month=1.0, usd_per_million_tokens=1.0,
        speed_evidence="assumed",
    )  # fmt: skip


def hosted(number, workload="chat"):
    return terms.Line(
        id=number, kind="hosted", workload=workload, offers=("groq:*:m:per_token",), provider="groq",
        chip_vendor="groq", region="us", purchase="per_token", traffic_share=0.0, usd_per_month=0.0,
        usd_per_million_tokens=1.0, speed_evidence="assumed",
    )  # fmt: skip


def rental(offer, chip, chips, instances):
    provider, region, instance_type, purchase = offer.split(":")
    return terms.Rental(
        offer=offer, provider=provider, region=region, instance_type=instance_type, chip=chip, chips_per_instance=chips,
        purchase=purchase, instances=tuple(instances), instance_hours_per_month=1.0, usd_per_hour=10.0,
        usd_per_month=1.0, price_as_of="2026-01-21", price_source="a list",
    )  # fmt: skip


def box(chip, chips, purchase, *steps):
    """Steps are (offer, USD per hour)."""
    return terms.ProblemBox(
        provider=steps[0][0].split(":")[0], chip_vendor="nvidia", region="", chip=chip, chips=chips, purchase=purchase,
        steps=tuple((offer, usd, None) for offer, usd in steps),
    )  # fmt: skip


def plan(lines, rentals, *, boxes=(), limits=(), model="Qwen/Qwen3-32B", windows=1):
    """One workload `chat` (and `code`, of the same model) in windows w0, w1, ..."""
    workload = {
        "kind": "serve",
        "promise": "",
        "buckets": (),
        "rate_per_s": (),
        "headroom": (),
        "tokens_per_month": 1.0,
    }
    return terms.Plan(
        spec_digest="a", catalog_digest="b", status="proven", usd_per_month=1.0, bound_usd_per_month=1.0, gap=0.0,
        windows=tuple(
            terms.PlanWindow(name=f"w{i}", hours_per_month=10.0, usd_per_month=100.0 - i) for i in range(windows)
        ),
        workloads=tuple(terms.PlanWorkload(name=name, model=model, **workload) for name in ("chat", "code")),
        rentals=tuple(rentals), lines=tuple(lines), routes=(), losses=(), capacity=(),
        limits=tuple(
            terms.LimitRow(name=kind, kind=kind, bound=1.0, used=0.5, unit="", binding=False) for kind in limits
        ),
        problem=terms.ProblemFile(
            windows=(), hours=(), needs=(), boxes=tuple(boxes), builds=(), options=(), hosted=(),
            limits=terms.ProblemLimits(),
        ),
        solver=terms.SolverFacts(solver="none", gap_asked=0.0),
    )  # fmt: skip


def planned(made, *, weights=(), window=None, weights_from="hub"):
    choice = Choice(dict(weights), window, parse_weights_from(weights_from).folder)
    return plan_fleet(made, choice, api.find_model)


def files_of(made, *, weights_from="hub", secret="polyfleet", namespace="", **asked):
    """Files by path, without what was left out."""
    place = parse_weights_from(weights_from)
    files, _ = render(planned(made, weights_from=weights_from, **asked), InCluster(place, secret, namespace))
    return files
