"""A plan's lines as replicas: what each place is handed, judged by hand-made plans."""

import json
import shlex

import pytest
from manifest_plans import box, line, plan, planned, rental

from polyfleet import api
from polyfleet.errors import LaunchError
from polyfleet.launch.from_plan import Where, replicas_of_plan
from polyfleet.launch.manifests import Choice, plan_fleet
from polyfleet.launch.manifests.weights_from import parse_weights_from
from polyfleet.launch.where import place_chooser
from polyfleet.terms.fleet import SKY
from polyfleet.terms.launch_section import Launch, OwnEngine, PlaceChoice
from polyfleet.terms.plan import PlanBucket, Route

H100 = "aws:us-east-1:p5.48xlarge:on_demand"
SPOT = "aws:us-east-1:p5.48xlarge:spot"
AMD = "azure:eastus:Standard_ND96isr_MI300X_v5:on_demand"
EAST = "kubernetes:east/llm"


def replicas(made, place=SKY, weights="hub", **choice):
    fleet = planned(made) if not choice else plan_fleet(made, Choice(**choice), api.find_model)
    return replicas_of_plan(fleet, Where(lambda _line: place, parse_weights_from(weights)))


def test_replicas_of_one_machine_stand_on_it_with_their_own_chips_and_ports():
    made = plan([line(0, "2xH100-SXM bf16 vllm tp2", H100, [3])], [rental(H100, "H100-SXM", 8, [1])])
    specs = replicas(made)
    assert len({spec.machine for spec in specs}) == 1
    assert specs[0].machine
    tasks = [json.loads(spec.manifest) for spec in specs]
    assert [task["port"] for task in tasks] == [8000, 8001, 8002]
    assert all(task["ports"] == [8000, 8001, 8002] for task in tasks)
    gpus = [next(w for w in shlex.split(task["run"]) if w.startswith('"device=')) for task in tasks]
    assert gpus == ['"device=0,1"', '"device=2,3"', '"device=4,5"']
    assert [spec.usd_per_hour for spec in specs] == [10.0 * 2 / 8] * 3


def test_replicas_of_two_lines_share_a_machine_that_is_rented_once():
    lines = [
        line(0, "4xH100-SXM bf16 vllm tp4", H100, [1]),
        line(1, "2xH100-SXM bf16 vllm tp2", H100, [2], workload="code"),
    ]
    specs = replicas(plan(lines, [rental(H100, "H100-SXM", 8, [1])]))
    assert len({spec.machine for spec in specs}) == 1
    assert sorted(json.loads(spec.manifest)["port"] for spec in specs) == [8000, 8001, 8002]
    assert {tuple(json.loads(spec.manifest)["ports"]) for spec in specs} == {(8000, 8001, 8002)}
    assert sum(spec.usd_per_hour for spec in specs) == 10.0


def test_a_replica_that_fills_its_machine_is_alone_on_it():
    made = plan([line(0, "8xH100-SXM bf16 vllm tp8", H100, [2])], [rental(H100, "H100-SXM", 8, [2])])
    assert [spec.machine for spec in replicas(made)] == ["", ""]


def test_offers_are_tried_in_order_own_then_cheapest_then_on_demand_for_spot():
    west, dear = "aws:us-west-2:p5.48xlarge:spot", "aws:eu-west-1:p5.48xlarge:spot"
    boxes = [
        box("H100-SXM", 8, "spot", (dear, 30.0), (SPOT, 10.0), (west, 20.0)),
        box("H100-SXM", 8, "on_demand", (H100, 60.0)),
        box("H100-SXM", 8, "reserved_1y", ("aws:us-east-1:p5.48xlarge:reserved_1y", 5.0)),
    ]
    made = plan([line(0, "8xH100-SXM bf16 vllm tp8", SPOT, [1])], [rental(SPOT, "H100-SXM", 8, [1])], boxes=boxes)
    (spec,) = replicas(made)
    assert [(o.offer, o.usd_per_hour) for o in spec.offers] == [(SPOT, 10.0), (west, 20.0), (dear, 30.0), (H100, 60.0)]
    asked = [json.loads(o.resources) for o in spec.offers]
    assert asked[1] == {"infra": "aws/us-west-2", "instance_type": "p5.48xlarge", "use_spot": True}
    assert asked[3]["use_spot"] is False


def test_a_change_of_prices_alone_starts_nothing_anew():
    def one(usd):
        west = box("H100-SXM", 8, "on_demand", ("aws:us-west-2:p5.48xlarge:on_demand", usd))
        return replicas(
            plan([line(0, "8xH100-SXM bf16 vllm tp8", H100, [1])], [rental(H100, "H100-SXM", 8, [1])], boxes=[west])
        )

    assert one(20.0)[0].digest == one(25.0)[0].digest
    assert one(20.0)[0] != one(25.0)[0]


def test_on_kubernetes_a_replica_is_its_deployment_with_all_that_the_manifests_say():
    made = plan([line(0, "8xMI300X bf16 vllm tp8", AMD, [2])], [rental(AMD, "MI300X", 8, [2])])
    specs = replicas(made, EAST)
    for spec in specs:
        deployment, budget = json.loads(spec.manifest)
        assert (budget["kind"], budget["spec"]["maxUnavailable"]) == ("PodDisruptionBudget", 1)
        assert (deployment["kind"], deployment["metadata"]["name"]) == ("Deployment", spec.id)
        (engine,) = deployment["spec"]["template"]["spec"]["containers"]
        assert engine["resources"]["limits"] == {"amd.com/gpu": "8"}
        assert spec.place == EAST
    assert {spec.provider for spec in specs} == {"azure"}
    assert {spec.served for spec in specs} == {("chat", "Qwen/Qwen3-32B")}


def test_traffic_is_split_as_the_plan_routes_it():
    made = plan([line(0, "8xH100-SXM bf16 vllm tp8", H100, [2])], [rental(H100, "H100-SXM", 8, [2])])
    buckets = (PlanBucket(input_tokens=100.0, output_tokens=10.0), PlanBucket(input_tokens=900.0, output_tokens=90.0))
    routes = tuple(
        Route(window=w, workload="chat", bucket=b, line=0, requests_per_s=rate)
        for w, b, rate in ((0, 0, 3.0), (0, 1, 1.0), (1, 0, 99.0))
    )
    made = made.model_copy(
        update={
            "workloads": (made.workloads[0].model_copy(update={"buckets": buckets}), made.workloads[1]),
            "routes": routes,
        }
    )
    for spec in replicas(made):
        assert spec.shares == (1.5, 0.5)
        assert spec.buckets == ((100.0, 10.0), (900.0, 90.0))


def test_an_engine_of_the_users_own_replaces_the_recipes():
    made = plan([line(0, "8xH100-SXM bf16 vllm tp8", H100, [1])], [rental(H100, "H100-SXM", 8, [1])])
    own = OwnEngine(
        image="own/engine:1", command="serve --port {port} --names {names}", speaks="llama.cpp", health="/up"
    )
    (spec,) = replicas(made, EAST, engines={"chat": own})
    ((engine,),) = [d["spec"]["template"]["spec"]["containers"] for d in json.loads(spec.manifest)]
    assert (engine["image"], engine["command"]) == ("own/engine:1", ["serve"])
    assert engine["args"] == ["--port", "8000", "--names", "chat", "Qwen/Qwen3-32B"]
    assert (spec.engine, spec.health, spec.upstream_model) == ("llama.cpp", "/up", None)
    assert engine["readinessProbe"]["httpGet"]["path"] == "/up"


def test_what_skypilot_does_not_rent_is_told_all_at_once_with_what_to_write():
    offers = ("crusoe:us-east1:a100.8x:on_demand", "nowhere:x:y:on_demand")
    made = plan(
        [line(n, "8xH100-SXM bf16 vllm tp8", offer, [1]) for n, offer in enumerate(offers)],
        [rental(offer, "H100-SXM", 8, [1]) for offer in offers],
    )
    with pytest.raises(LaunchError) as told:
        replicas(made)
    assert "line 0 (H100-SXM at crusoe), line 1 (H100-SXM at nowhere)" in str(told.value)
    assert "exclude: {provider: [crusoe, nowhere]}" in str(told.value)


def test_a_claim_of_kubernetes_cannot_give_weights_to_a_rented_machine():
    made = plan([line(0, "8xH100-SXM bf16 vllm tp8", H100, [1])], [rental(H100, "H100-SXM", 8, [1])])
    with pytest.raises(LaunchError, match="pvc:weights"):
        replicas(made, weights="pvc:weights")


def test_the_first_place_that_fits_a_line_is_its_place_and_on_chooses_among_them():
    places = (PlaceChoice(provider="AWS", region="us-west-2", on="sky"), PlaceChoice(provider="azure", on="sky"))
    launch = Launch(places=places)
    own = line(0, "8xH100-SXM bf16 vllm tp8", H100, [1])
    there = line(1, "8xMI300X bf16 vllm tp8", AMD, [1])
    assert place_chooser(launch, None)(there) == SKY
    with pytest.raises(LaunchError, match="nothing says where line 0"):
        place_chooser(launch, None)(own)
    assert place_chooser(launch, "sky")(own) == SKY
    assert place_chooser(Launch(on="sky"), None)(own) == SKY
