"""`polyfleet up` as a user runs it: a plan whose machines SkyPilot rents."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from rig import Rig, wait_for
from rig_fleet import TEXT

from polyfleet.launch.local import home_hash
from polyfleet.launch.ports import free_port
from polyfleet.launch.processes import end_all

SPEC = """\
workloads:
  chat:
    model: polyfleet/tiny
    traffic: {{rate: 300/s, input: 300, output: 200}}
    slo: {{ttft: 1s p95, tpot: 30ms p95}}
policy: {{hosted: forbidden}}
catalog: {{offers: own.csv}}
launch:
  on: sky
  engines:
    chat:
      image: rig/engine:1
      command: >-
        {python} -m polyfleet.launch.llamacpp_server {weights} --host 0.0.0.0 --port {{port}}
        --slots 4 --context 2048 --names {{names}}
      speaks: llama.cpp
"""
PRICES = """\
id,usd_per_hour,quota_instances,as_of,note
aws:us-east-1:p5.48xlarge:on_demand,0.02,4,2026-11-24,made up: so that the plan takes what the rig has
"""


class Project:
    """A user's folder with a spec, and the command line run in it."""

    def __init__(self, folder: Path, rig: Rig, weights: Path) -> None:
        self.folder, self.home, self.port = folder, folder / "home", free_port()
        self.environment = rig.environment | {"POLYFLEET_HOME": str(self.home)}
        (folder / "own.csv").write_text(PRICES)
        (folder / "fleet.yaml").write_text(SPEC.format(python=sys.executable, weights=weights))

    def run(self, *arguments: str, code: int = 0, timeout_s: float = 1200) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "polyfleet", *arguments], cwd=self.folder, env=self.environment, text=True,
            capture_output=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr


@pytest.fixture
def project(tmp_path: Path, rig: Rig, weights: Path) -> Iterator[Project]:
    rig.fail()
    made = Project(tmp_path, rig, weights)
    yield made
    end_all(f"{home_hash(made.home)}/", 1.0)
    for each in rig.instances():
        rig.reclaim(each["id"])


def test_a_plan_comes_up_by_up_answers_and_goes_by_down(project: Project, rig: Rig, http: httpx2.Client) -> None:
    up = ("up", "fleet.yaml", "--port", str(project.port))
    begun = time.monotonic()
    said = project.run(*up, "--dry-run")
    print(f"\ndry run {time.monotonic() - begun:.1f} s")
    assert "nothing was touched" in said
    assert rig.instances() == []

    key = project.environment.pop("VLLM_API_KEY")
    assert "VLLM_API_KEY" in project.run(*up, code=1)
    project.environment["VLLM_API_KEY"] = key
    assert rig.instances() == []

    begun = time.monotonic()
    told = project.run(*up, "--timeout", "900")
    print(f"up took {time.monotonic() - begun:.1f} s\n{told}")
    (gate_key,) = [line.split()[1] for line in told.splitlines() if line.startswith("key")]
    headers = {"Authorization": f"Bearer {gate_key}"}
    status = json.loads(project.run("status", "--json"))
    assert [(row["state"], row["place"]) for row in status["replicas"]] == [("ready", "sky")]
    url = f"http://127.0.0.1:{project.port}/v1"
    answer = http.post(f"{url}/completions", json=TEXT | {"model": "chat"}, headers=headers)
    assert "choices" in answer.text
    assert "llama" in project.run("logs", status["replicas"][0]["id"])
    begun = time.monotonic()
    project.run("down")
    wait_for(lambda: not rig.instances() and not rig.firewalls(), 300)
    print(f"down took {time.monotonic() - begun:.1f} s")
