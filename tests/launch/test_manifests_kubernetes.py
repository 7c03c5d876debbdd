"""Kubernetes YAML: what stands in it, and what validators say of it."""

import re
import shutil
import subprocess

import pytest
import yaml
from manifest_plans import EXAMPLE, FP8, files_of, line, plan, planned, rental

from polyfleet import api
from polyfleet.launch.recipes import fill_recipe
from polyfleet.terms.fleet import ReplicaSpec

AWS = "aws:us-east-1:trn2.48xlarge:on_demand"
SPOT = "gcp:us-east4:ct6e-standard-4t:spot"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@pytest.fixture(scope="module")
def true_plan():
    return api.make_plan(EXAMPLE, gap=0.03)


class Files(dict):
    """Files by path that are parsed once."""


@pytest.fixture(scope="module")
def true_files(true_plan):
    return Files(files_of(true_plan, weights=FP8))


def documents(files, kind=None):
    found = getattr(files, "parsed", None)
    if found is None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        kubernetes = [text for path, text in files.items() if path.startswith("kubernetes/")]
        found = [d for text in kubernetes for d in yaml.load_all(text, loader)]
        if isinstance(files, Files):
            files.parsed = found
    return [d for d in found if kind in (None, d["kind"])]


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


def test_each_replica_of_the_window_is_one_deployment_of_its_name(true_plan, true_files):
    fleet = planned(true_plan, weights=FP8)
    wanted = {line.id: line.replicas[fleet.window] for line in true_plan.lines if line.kind == "own"}
    names = [d["metadata"]["name"] for d in documents(true_files, "Deployment")]
    assert len(names) == len(set(names)) == sum(wanted.values()) > 20
    assert sorted(names) == sorted(replica for p in fleet.lines for replica in p.replicas)
    for d in documents(true_files, "Deployment"):
        assert d["spec"]["replicas"] == 1
        assert d["spec"]["template"]["metadata"]["labels"]["polyfleet/replica"] == d["metadata"]["name"]
        ReplicaSpec(id=d["metadata"]["name"], workload="w", served=("m",), engine="vllm", weights="")


def test_names_and_labels_are_ones_that_kubernetes_takes(true_plan, true_files):
    for d in documents(true_files):
        if d["kind"] == "Kustomization":
            continue
        assert NAME.fullmatch(d["metadata"]["name"])
        assert len(d["metadata"]["name"]) <= 63
        assert d["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "polyfleet"
        for value in d["metadata"]["labels"].values():
            assert LABEL.fullmatch(value)
            assert len(value) <= 63
    digests = {d["metadata"]["labels"]["polyfleet/plan"] for d in documents(true_files, "Deployment")}
    assert digests == {true_plan.digest[:16]}


def test_selectors_choose_the_pods_that_they_are_meant_for(true_files):
    deployments = documents(true_files, "Deployment")
    for d in deployments:
        labels = d["spec"]["template"]["metadata"]["labels"]
        assert d["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for kind, of in (("Service", "polyfleet/workload"), ("PodDisruptionBudget", "polyfleet/line")):
        for d in documents(true_files, kind):
            selector = d["spec"]["selector"]
            (value,) = selector.get("matchLabels", selector).values()
            assert any(x["spec"]["template"]["metadata"]["labels"][of] == value for x in deployments)


def test_quantities_are_text_and_ports_name_their_protocol(true_files):
    """What server-side apply asks for on older servers."""
    for d in documents(true_files, "Deployment"):
        (engine,) = pod_of(d)["containers"]
        assert engine["resources"]["limits"] == engine["resources"]["requests"]
        assert {type(v) for v in engine["resources"]["limits"].values()} == {str}
        assert {port["protocol"] for port in engine["ports"]} == {"TCP"}
    for d in documents(true_files, "Service"):
        assert {port["protocol"] for port in d["spec"]["ports"]} == {"TCP"}


def test_the_command_is_the_recipes_own_and_memory_is_shared(true_plan, true_files):
    fleet = planned(true_plan, weights=FP8)
    by_line = {p.name: p for p in fleet.lines}
    for d in documents(true_files, "Deployment"):
        (engine,) = pod_of(d)["containers"]
        recipe = by_line[d["metadata"]["labels"]["polyfleet/line"]].recipe
        assert (*engine["command"], *engine["args"]) == recipe.command
        assert engine["image"] == recipe.image
        assert {"name": "shm", "mountPath": "/dev/shm"} in engine["volumeMounts"]
        shm = next(v for v in pod_of(d)["volumes"] if v["name"] == "shm")
        assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{recipe.shm_gib}Gi"}
        assert not engine.get("securityContext", {}).get("privileged")


def test_a_pod_has_time_to_compile_and_is_told_by_its_probes():
    """By hand: 20 minutes are published for Trainium2; twice that, in periods of 10 s, are 240."""
    made = plan([line(0, "4xTrainium2 bf16 vllm-neuron tp4", AWS, [1])], [rental(AWS, "Trainium2", 16, [1])])
    (deployment,) = documents(files_of(made), "Deployment")
    (engine,) = pod_of(deployment)["containers"]
    assert engine["startupProbe"]["failureThreshold"] * engine["startupProbe"]["periodSeconds"] == 2400
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert engine[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert engine["resources"]["limits"] == {"aws.amazon.com/neuron": "4"}
    assert pod_of(deployment)["nodeSelector"] == {"node.kubernetes.io/instance-type": "trn2.48xlarge"}
    assert engine["securityContext"]["capabilities"]["add"] == ["SYS_ADMIN", "IPC_LOCK"]


def test_a_spot_line_asks_for_spot_nodes_and_stands_their_taint():
    spot = line(0, "4xTPU-v6e bf16 vllm-tpu tp4", SPOT, [1], purchase="spot")
    (deployment,) = documents(files_of(plan([spot], [rental(SPOT, "TPU-v6e", 4, [1])])), "Deployment")
    assert pod_of(deployment)["nodeSelector"] == {
        "node.kubernetes.io/instance-type": "ct6e-standard-4t",
        "cloud.google.com/gke-spot": "true",
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
        "cloud.google.com/gke-tpu-topology": "2x2",
    }
    assert {t["key"] for t in pod_of(deployment)["tolerations"]} == {"google.com/tpu", "cloud.google.com/gke-spot"}


def test_a_replica_that_spans_machines_is_a_leader_with_workers():
    offer = "aws:us-east-1:p4d.24xlarge:on_demand"
    wide = line(0, "16xA100-SXM-40GB bf16 vllm tp16", offer, [2])
    made = plan([wide], [rental(offer, "A100-SXM-40GB", 8, [4])])
    files = files_of(made)
    groups = documents(files, "LeaderWorkerSet")
    assert len(groups) == 2
    assert documents(files, "Deployment") == []
    for group in groups:
        template = group["spec"]["leaderWorkerTemplate"]
        assert template["size"] == 2
        (leader,) = template["leaderTemplate"]["spec"]["containers"]
        (worker,) = template["workerTemplate"]["spec"]["containers"]
        assert leader["resources"]["limits"] == worker["resources"]["limits"] == {"nvidia.com/gpu": "8"}
        assert leader["args"][-6:] == [
            "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)",
        ]  # fmt: skip
        assert worker["args"] == [*leader["args"], "--headless"]
        assert "readinessProbe" not in worker
        served = template["workerTemplate"]["metadata"]["labels"]
        assert "polyfleet/workload" not in served


@pytest.mark.parametrize(
    ("weights_from", "model"),
    [
        ("hub", "Qwen/Qwen3-32B"),
        ("pvc:weights", "/models/Qwen/Qwen3-32B"),
        ("s3://bucket/models", "/models/Qwen/Qwen3-32B"),
        ("gs://bucket", "/models/Qwen/Qwen3-32B"),
        ("image:/opt/models", "/opt/models/Qwen/Qwen3-32B"),
    ],
)
def test_weights_come_from_where_the_user_keeps_them(weights_from, model):
    made = plan([line(0, "4xTrainium2 bf16 vllm-neuron tp4", AWS, [1])], [rental(AWS, "Trainium2", 16, [1])])
    (deployment,) = documents(files_of(made, weights_from=weights_from), "Deployment")
    (engine,) = pod_of(deployment)["containers"]
    assert engine["args"][1] == model
    assert engine["args"][engine["args"].index("--served-model-name") + 2] == "Qwen/Qwen3-32B"
    mounts = {m["name"]: m["mountPath"] for m in engine["volumeMounts"]}
    volumes = {v["name"]: v for v in pod_of(deployment)["volumes"]}
    assert set(mounts) == set(volumes)
    if weights_from == "pvc:weights":
        assert volumes["models"]["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}
    if "://" in weights_from:
        (copier,) = pod_of(deployment)["initContainers"]
        assert copier["args"][1].endswith(f"{weights_from.split('://')[1]}/Qwen/Qwen3-32B")
        assert copier["args"][2] == model


def test_the_pod_of_a_replica_that_the_new_plan_keeps_is_left_alone():
    """The plan's digest stands on the Deployment alone: a label of the pod would start every pod again."""
    rentals = [rental(AWS, "Trainium2", 16, [1])]
    one = line(0, "4xTrainium2 bf16 vllm-neuron tp4", AWS, [1])
    other = line(0, "8xTrainium2 bf16 vllm-neuron tp8", AWS, [1], workload="code")
    before = documents(files_of(plan([one], rentals)), "Deployment")
    after = documents(files_of(plan([other, one.model_copy(update={"id": 1})], rentals)), "Deployment")
    (kept,) = [d for d in after if d["metadata"]["name"] == before[0]["metadata"]["name"]]
    assert kept["spec"] == before[0]["spec"]
    assert kept["metadata"]["labels"]["polyfleet/plan"] != before[0]["metadata"]["labels"]["polyfleet/plan"]


def test_a_secret_is_named_and_its_value_is_nowhere(true_plan, monkeypatch):
    for name in ("HF_TOKEN", "VLLM_API_KEY"):
        monkeypatch.setenv(name, "a-value-of-a-secret")
    files = files_of(true_plan, weights=FP8, secret="tokens")
    assert not any("a-value-of-a-secret" in text for text in files.values())
    for d in documents(files, "Deployment"):
        held = {
            e["name"]: e["valueFrom"]["secretKeyRef"] for e in pod_of(d)["containers"][0]["env"] if "valueFrom" in e
        }
        assert held["HF_TOKEN"] == {"name": "tokens", "key": "HF_TOKEN", "optional": True}


def test_every_object_is_right_by_kubernetes_own_schemas(true_files):
    """The schemas of 1.37, strict, without a server; custom resources are not in them."""
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    checked = 0
    for d in documents(true_files):
        if d["kind"] not in ("Kustomization", "LeaderWorkerSet"):
            validate.validate(d, "1.37", strict=True)
            checked += 1
    assert checked > 20


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_each_cluster_and_loses_nothing(true_plan, tmp_path):
    files = files_of(true_plan, weights=FP8, namespace="serving")
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for folder in sorted((tmp_path / "kubernetes").iterdir()):
        built = subprocess.run(
            ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True, timeout=60
        )
        made = list(yaml.load_all(built.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        ours = documents({p: t for p, t in files.items() if f"/{folder.name}/" in p and "kustomization" not in p})
        key = lambda d: (d["kind"], d["metadata"]["name"])  # noqa: E731
        assert sorted(map(key, made)) == sorted(map(key, ours))
        assert {d["metadata"]["namespace"] for d in made} == {"serving"}


def test_a_lines_recipe_is_the_one_that_the_recipe_verb_gives(true_plan):
    for p in planned(true_plan, weights=FP8).lines:
        alone = fill_recipe(p.model, api.search_catalog("chips", chip=p.line.chip)[0], p.build, p.ask)
        assert alone.command == p.recipe.command
