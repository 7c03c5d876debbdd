"""SkyPilot's own parser takes every task. Opt-in: SkyPilot brings a hundred packages, so it has a Python of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from manifest_plans import EXAMPLE, FP8, files_of, line, plan, rental

from polyfleet import api
from polyfleet.catalog.images import load_clusters

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("POLYFLEET_SKY_PYTHON", ROOT / "build" / "bench" / "sky" / "bin" / "python"))
_THEIRS = """
import csv, json, pathlib, sys
asked = json.load(sys.stdin)
columns = ["InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "GpuInfo", "Price", "SpotPrice",
           "Region", "AvailabilityZone"]
for cloud, rows in asked["catalogs"].items():
    folder = pathlib.Path.home() / ".sky" / "catalogs" / "v8" / cloud
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "vms.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
import yaml
from sky import clouds
from sky.task import Task
from sky.utils import registry
read = []
for text in asked["tasks"]:
    task = Task.from_yaml_config(yaml.safe_load(text), secrets_overrides=asked["secrets"])
    task.validate_name()
    read.append([task.name, [[str(r.cloud).lower(), r.region, r.use_spot] for r in task.resources]])
known = [name for name in asked["clouds"] if registry.CLOUD_REGISTRY.from_str(name) is not None]
print("ANSWER " + json.dumps({"read": read, "known": known}))
"""

needs_sky = pytest.mark.skipif(
    not PYTHON.exists(), reason="no Python with SkyPilot: install skypilot==0.14.1 and name it in POLYFLEET_SKY_PYTHON"
)


def ask_sky(tasks, home):
    """What SkyPilot reads of the tasks. Its catalogs are laid by hand, with the machines that the tasks name: it would
    fetch them, and this asks about the form alone."""
    import yaml

    catalogs = {cloud: [["x", "X", 1, 8, 64, "", 1, 0.5, "r1", "r1-a"]] for cloud in ("aws", "azure", "gcp")}
    for text in tasks:
        for r in yaml.safe_load(text)["resources"]["ordered"]:
            cloud, _, region = r["infra"].partition("/")
            place = region or "r1"
            kind, tpu = r.get("instance_type", "TPU-VM"), r.get("accelerators", "X")
            catalogs.setdefault(cloud, []).append([kind, tpu, 1, 8, 64, "", 1, 0.5, place, f"{place}-a"])
    asked = {
        "catalogs": catalogs, "tasks": tasks, "secrets": {"HF_TOKEN": "x", "VLLM_API_KEY": "x"},
        "clouds": [c.sky_cloud for c in load_clusters().values()],
    }  # fmt: skip
    done = subprocess.run(
        [str(PYTHON), "-c", _THEIRS], input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "HOME": str(home), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    (answer,) = [x for x in done.stdout.splitlines() if x.startswith("ANSWER ")]
    return json.loads(answer.removeprefix("ANSWER "))


@needs_sky
@pytest.mark.slow
def test_skypilot_reads_every_task_as_it_was_meant(tmp_path):
    import yaml

    trn = "aws:us-east-1:trn2.48xlarge:on_demand"
    small = plan([line(0, "8xTrainium2 bf16 vllm-neuron tp8", trn, [2])], [rental(trn, "Trainium2", 16, [1])])
    made = [files_of(api.make_plan(EXAMPLE, gap=0.03), weights=FP8), files_of(small, weights_from="s3://bucket/models")]
    tasks = [text for files in made for path, text in files.items() if path.startswith("sky/")]
    answer = ask_sky(tasks, tmp_path)
    meant = []
    for text in tasks:
        task = yaml.safe_load(text)
        places = [
            [r["infra"].split("/")[0], r["infra"].partition("/")[2] or None, r["use_spot"]]
            for r in task["resources"]["ordered"]
        ]
        meant.append([task["name"], places])
    assert answer["read"] == meant
    assert answer["known"] == [c.sky_cloud for c in load_clusters().values()]
