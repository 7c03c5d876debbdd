"""SkyPilot tasks and Compose files: what stands on each machine, and which offers are tried."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from manifest_plans import EXAMPLE, FP8, box, files_of, hosted, line, plan, planned, rental

from polyfleet import api
from polyfleet.errors import InputError, PlanFileError, UnservableError
from polyfleet.launch.manifests.boxes import machines_of
from polyfleet.launch.manifests.fleet import build_of
from polyfleet.launch.manifests.kubernetes import InCluster
from polyfleet.launch.manifests.render import render
from polyfleet.launch.manifests.text import yaml_text
from polyfleet.launch.manifests.weights_from import parse_weights_from
from polyfleet.plan.document_lines import build_text
from polyfleet.terms.build import Build
from polyfleet.terms.plan import plan_to_json
from polyfleet.terms.precision import Precision

P5 = "aws:us-east-1:p5.48xlarge:on_demand"
P5_WEST = "aws:us-west-2:p5.48xlarge:on_demand"
AZURE = "azure:eastus:Standard_ND96isr_H100_v5:on_demand"
GCP = "gcp:us-central1:a3-highgpu-8g:on_demand"
CRUSOE = "crusoe:*:8x MI300X:on_demand"
TWO = "2xH100-SXM bf16 vllm tp2"


@pytest.fixture(scope="module")
def true_plan():
    return api.make_plan(EXAMPLE, gap=0.03)


def parsed(files, folder):
    return {Path(p).name: yaml.safe_load(text) for p, text in files.items() if p.startswith(f"{folder}/")}


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(0, 9)), min_size=1, max_size=4),
    st.integers(0, 4),
)
def test_no_chip_holds_two_replicas_and_no_machine_is_added_without_need(lines, instances):
    """Chips in powers of two pack without waste: machines needed = chips over eight, rounded up."""
    made = [(line(i, f"{c}xH100-SXM bf16 vllm tp{c}", P5, [n]), [f"r{i}-{k}" for k in range(n)])
            for i, (c, n) in enumerate(lines)]  # fmt: skip
    machines = machines_of(plan([x for x, _ in made], [rental(P5, "H100-SXM", 8, [instances])]), 0, made)
    chips_of = {i: c for i, (c, _) in enumerate(lines)}
    held = [replica for m in machines for _, replica, _ in m.held]
    assert sorted(held) == sorted(r for _, ids in made for r in ids)
    for machine in machines:
        taken = [first + k for i, _, first in machine.held for k in range(chips_of[i])]
        assert len(taken) == len(set(taken))
        assert set(taken) <= set(range(8))
        assert all(first % chips_of[i] == 0 for i, _, first in machine.held)
    assert len(machines) == -(-sum(c * n for c, n in lines) // 8)


def test_the_true_plan_stands_on_the_machines_that_it_rents(true_plan):
    fleet = planned(true_plan, weights=FP8)
    used = Counter(m.rental.offer for m in fleet.machines)
    rented = {r.offer: r.instances[fleet.window] for r in true_plan.rentals if r.instances[fleet.window]}
    assert used == rented


def test_replicas_of_one_machine_share_neither_chips_nor_ports():
    made = plan([line(0, TWO, P5, [3]), line(1, "1xH100-SXM fp8 vllm tp1", P5, [2], workload="code")],
                [rental(P5, "H100-SXM", 8, [1])])  # fmt: skip
    files = files_of(made)
    (compose,) = parsed(files, "compose").values()
    services = compose["services"].values()
    assert len(services) == 5
    chips = [i for s in services for i in s["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]]
    assert sorted(chips) == [str(n) for n in range(8)]
    assert len({s["ports"][0] for s in services}) == 5
    (task,) = parsed(files, "sky").values()
    assert task["run"].count("docker run") == 5
    assert task["resources"]["ordered"][0]["ports"] == [8000, 8001, 8002, 8003, 8004]
    assert task["run"].endswith("wait -n\n")


@pytest.mark.parametrize(
    ("offer", "chip", "chips", "build", "wanted"),
    [
        ("oci:*:BM.GPU.MI300X.8:on_demand", "MI300X", 8, "4xMI300X bf16 vllm tp4",
         ["HIP_VISIBLE_DEVICES=0,1,2,3", "HIP_VISIBLE_DEVICES=4,5,6,7"]),
        ("aws:us-east-1:trn2.48xlarge:on_demand", "Trainium2", 16, "8xTrainium2 bf16 vllm-neuron tp8",
         ["--device /dev/neuron7", "--device /dev/neuron8"]),
        ("gcp:us-east4:ct6e-standard-8t:on_demand", "TPU-v6e", 8, "4xTPU-v6e bf16 vllm-tpu tp4",
         ["TPU_VISIBLE_CHIPS=0,1,2,3", "TPU_VISIBLE_CHIPS=4,5,6,7"]),
    ],
)  # fmt: skip
def test_each_replica_is_shown_its_own_chips_in_its_makers_way(offer, chip, chips, build, wanted):
    files = files_of(plan([line(0, build, offer, [2])], [rental(offer, chip, chips, [1])]))
    (task,) = parsed(files, "sky").values()
    first, second = task["run"].split(" &\n")[:2]
    assert wanted[0] in first
    assert wanted[1] in second
    assert wanted[1] not in first


def test_offers_are_tried_from_the_plans_own_to_the_dearest_like_it():
    boxes = [
        box("H100-SXM", 8, "on_demand", (P5, 90.0), (P5_WEST, 95.0)),
        box("H100-SXM", 8, "on_demand", (GCP, 80.0)),
        box("H100-SXM", 8, "on_demand", (AZURE, 85.0)),
        box("H100-SXM", 8, "spot", ("gcp:us-central1:a3-highgpu-8g:spot", 20.0)),
        box("H100-SXM", 4, "on_demand", ("gcp:us-central1:a3-highgpu-4g:on_demand", 10.0)),
        box("A100-SXM-80GB", 8, "on_demand", ("gcp:us-central1:a2-ultragpu-8g:on_demand", 10.0)),
        box("H100-SXM", 8, "on_demand", ("hyperstack:US-1:n3-H100-SXM5x8:on_demand", 1.0)),
    ]
    lines, rentals = [line(0, TWO, P5, [1])], [rental(P5, "H100-SXM", 8, [1])]
    free = parsed(files_of(plan(lines, rentals, boxes=boxes)), "sky")
    (task,) = free.values()
    assert [(r["infra"], r["instance_type"]) for r in task["resources"]["ordered"]] == [
        ("aws/us-east-1", "p5.48xlarge"), ("gcp/us-central1", "a3-highgpu-8g"),
        ("azure/eastus", "Standard_ND96isr_H100_v5"), ("aws/us-west-2", "p5.48xlarge"),
    ]  # fmt: skip
    assert {r["use_spot"] for r in task["resources"]["ordered"]} == {False}
    (capped,) = parsed(files_of(plan(lines, rentals, boxes=boxes, limits=["share of provider"])), "sky").values()
    assert [r["infra"] for r in capped["resources"]["ordered"]] == ["aws/us-east-1", "aws/us-west-2"]


def test_what_skypilot_does_not_rent_is_told_and_still_has_a_compose_file():
    made = plan([line(0, "8xMI300X bf16 vllm tp8", CRUSOE, [1]), hosted(1)], [rental(CRUSOE, "MI300X", 8, [1])])
    files, left_out = render(planned(made), InCluster(parse_weights_from("hub")))
    assert parsed(files, "sky") == {}
    assert len(parsed(files, "compose")) == 1
    assert [text for text in left_out if "SkyPilot does not rent MI300X from crusoe" in text]
    assert [text for text in left_out if "line 1: chat on groq is bought by the token" in text]


def test_skypilot_must_be_given_the_secrets_and_none_is_written():
    (task,) = parsed(files_of(plan([line(0, TWO, P5, [1])], [rental(P5, "H100-SXM", 8, [1])])), "sky").values()
    assert task["secrets"] == {"HF_TOKEN": None, "VLLM_API_KEY": None}
    assert "-e VLLM_API_KEY " in task["run"]


def test_the_window_that_costs_most_an_hour_is_written_unless_another_is_named():
    made = plan([line(0, TWO, P5, [2, 3])], [rental(P5, "H100-SXM", 8, [1, 1])], windows=2)
    assert [len(planned(made, window=w).lines[0].replicas) for w in (None, "w0", "w1", "1")] == [2, 2, 3, 3]
    with pytest.raises(InputError, match=r"no such window \(got '2'\); there are 0 \(w0\), 1 \(w1\)"):
        planned(made, window="2")


def test_a_line_that_needs_another_checkpoint_says_how_to_name_it():
    offer = "gcp:us-east4:ct6e-standard-8t:on_demand"
    made = plan([line(7, "8xTPU-v6e fp8 vllm-tpu tp8", offer, [1])], [rental(offer, "TPU-v6e", 8, [1])])
    with pytest.raises(InputError, match=r"line 7: .* published in bf16, .*; add --weights chat/fp8=NAME"):
        planned(made)
    (named,) = planned(made, weights={"chat/fp8": "org/in-fp8"}).lines
    assert named.recipe.command[2] == "org/in-fp8"
    with pytest.raises(InputError, match=r"names no workload of the plan \(got 'chta'\); there are chat, code"):
        planned(made, weights={"chta": "org/in-fp8"})


def test_a_line_that_cannot_run_is_refused_before_anything_is_written():
    made = plan([line(0, "1xH100-SXM bf16 vllm tp1", P5, [1])], [rental(P5, "H100-SXM", 8, [1])],
                model="meta-llama/Llama-3.3-70B-Instruct")  # fmt: skip
    with pytest.raises(UnservableError, match="GiB of bf16 weights"):
        planned(made)
    broken = plan([line(0, "2xH100-SXM bf16 vllm tp3", P5, [1])], [rental(P5, "H100-SXM", 8, [1])])
    with pytest.raises(PlanFileError, match="2 chips are not tp x pp x dp"):
        planned(broken)


def test_lines_that_differ_only_in_the_machine_have_replicas_of_different_names():
    small = "aws:us-east-1:p5.4xlarge:on_demand"
    build = "1xH100-SXM fp8 vllm tp1"
    made = plan([line(0, build, P5, [2]), line(1, build, small, [2])],
                [rental(P5, "H100-SXM", 8, [1]), rental(small, "H100-SXM", 1, [2])])  # fmt: skip
    names = [replica for p in planned(made).lines for replica in p.replicas]
    assert len(set(names)) == 4


def test_workloads_whose_services_would_be_one_are_refused():
    made = plan([line(0, TWO, P5, [1])], [rental(P5, "H100-SXM", 8, [1])])
    twins = (made.workloads[0], made.workloads[1].model_copy(update={"name": "Chat"}))
    with pytest.raises(InputError, match="'chat' and 'Chat' would have services of the same name"):
        planned(made.model_copy(update={"workloads": twins}))


@given(
    st.sampled_from(["H100-SXM", "Trainium2", "RTX-PRO-6000"]), st.integers(1, 64), st.integers(1, 4),
    st.integers(1, 16), st.integers(1, 16), st.sampled_from(list(Precision)), st.sampled_from(list(Precision)),
)  # fmt: skip
def test_a_lines_text_is_read_as_the_build_that_the_plan_wrote(chip, tp, pp, dp, ep, precision, kv):
    build = Build("m", chip, tp, "vllm", precision, kv, pp=pp, ep=ep, dp=dp)
    written = line(0, TWO, P5, [1]).model_copy(update={"build": build_text(build)})
    assert build_of(written, "m") == build


def test_the_same_plan_gives_the_same_bytes_in_any_process(true_plan, tmp_path):
    (tmp_path / "plan.json").write_text(plan_to_json(true_plan))
    made = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-m", "polyfleet", "manifests", "plan.json", "-o", str(folder), "--weights",
             *(f"{k}={v}" for k, v in FP8.items())],
            cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True,
        )  # fmt: skip
        made.append({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert made[0] == made[1]
    assert len(made[0]) > 20


def test_either_dumper_of_yaml_writes_the_same(true_plan, monkeypatch):
    if not hasattr(yaml, "CSafeDumper"):
        pytest.skip("PyYAML has no libyaml here")
    documents = [d for text in files_of(true_plan, weights=FP8).values() for d in yaml.load_all(text, yaml.CSafeLoader)]
    slow = type("_Slow", (yaml.SafeDumper,), {"ignore_aliases": lambda _self, _data: True})
    from polyfleet.launch.manifests import text

    slow.add_representer(str, text._text)
    fast = yaml_text(*documents[::10])
    monkeypatch.setattr(text, "_Plain", slow)
    assert yaml_text(*documents[::10]) == fast


def test_every_file_reads_back_as_plain_values(true_plan):
    for path, text in files_of(true_plan, weights=FP8).items():
        for document in yaml.safe_load_all(text):
            assert json.loads(json.dumps(document)) == document, path
