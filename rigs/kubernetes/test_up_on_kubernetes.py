"""`polyfleet up --on kubernetes` as a user runs it: a plan of two clouds, each a namespace of the rig."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import wait_for
from lightkube import Client
from lightkube.resources.core_v1 import Pod
from rig_fleet import TEXT, left, pods
from servers import Plane

from polyfleet.launch.home import keeper_pid
from polyfleet.launch.ports import free_port

SPEC = """\
workloads:
  chat:
    model: polyfleet/tiny
    traffic: {{rate: 600/s, input: 300, output: 200}}
    slo: {{ttft: 1s p95, tpot: 30ms p95}}
policy:
  max_share: {{provider: 60%}}
  hosted: forbidden
catalog: {{offers: own.csv}}
launch:
  places:
    - {{provider: aws, on: kubernetes, context: {east}, namespace: {east}}}
    - {{provider: azure, on: kubernetes, context: {west}, namespace: {west}}}
  engines:
    chat:
      image: {image}
      command: >-
        {python} -m polyfleet.launch.llamacpp_server {weights} --host $(RIG_HOST) --port {{port}}
        --slots 4 --context 2048 --names {{names}}
      speaks: llama.cpp
"""
"""The engine in the container is llama.cpp with the tiny model: the rig has no chips, and its images are this
machine."""
PRICES = """\
id,usd_per_hour,quota_instances,as_of,note
aws:us-east-1:p5.48xlarge:on_demand,0.02,4,2026-11-24,made up: so that the plan takes what the rig has
azure:australiasoutheast:Standard_ND96isr_MI300X_v5:on_demand,0.02,4,2026-11-24,made up: so that the plan takes it
"""


class Project:
    """A user's folder with a spec, and the command line run in it."""

    def __init__(self, home: Path, plane: Plane, namespaces: tuple[str, str], weights: Path) -> None:
        self.folder, self.port = home.parent, free_port()
        self._spec = {"east": namespaces[0], "west": namespaces[1], "python": sys.executable, "weights": weights}
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("POLYFLEET")} | {
            "KUBECONFIG": str(plane.folder / "ann.yaml"),
            "POLYFLEET_HOME": str(home),
        }
        (self.folder / "own.csv").write_text(PRICES)
        self.write()

    def write(self, image: str = "rig/engine:1", **changes: str) -> None:
        (self.folder / "fleet.yaml").write_text(SPEC.format(**{**self._spec, "image": image, **changes}))

    def run(self, *arguments: str, code: int = 0, timeout_s: float = 120) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "polyfleet", *arguments], cwd=self.folder, env=self.environment, text=True,
            capture_output=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def up(self, *more: str, code: int = 0) -> str:
        return self.run("up", "fleet.yaml", "--port", str(self.port), *more, code=code)


@pytest.fixture
def project(home: Path, plane: Plane, namespaces: tuple[str, str], weights: Path) -> Iterator[Project]:
    yield Project(home, plane, namespaces, weights)
    keeper = keeper_pid(home)
    if keeper is not None:  # a test failed midway
        os.kill(keeper, signal.SIGKILL)


def test_a_plan_of_two_clouds_comes_up_changes_and_goes(
    project: Project, namespaces: tuple[str, str], admin: Client, http: httpx2.Client
) -> None:
    said = project.up("--dry-run")
    print(f"\n{said}")
    assert "nothing was touched" in said
    assert not [one for name in namespaces for one in left(admin, name)]

    begun = time.monotonic()
    told = project.up()
    print(f"up took {time.monotonic() - begun:.1f} s\n{told}")
    (key,) = [line.split()[1] for line in told.splitlines() if line.startswith("key")]
    url, headers = f"http://127.0.0.1:{project.port}/v1", {"Authorization": f"Bearer {key}"}
    status = json.loads(project.run("status", "--json"))
    assert {row["state"] for row in status["replicas"]} == {"ready"}
    assert {row["place"] for row in status["replicas"]} == {f"kubernetes:{name}/{name}" for name in namespaces}
    answers = {http.post(f"{url}/completions", json=TEXT | {"model": "chat"}, headers=headers).text for _ in range(3)}
    assert all("choices" in answer for answer in answers)
    assert "llama" in project.run("logs", status["replicas"][0]["id"])
    said = project.run("doctor", "fleet.yaml", "--json")
    found = {(finding["area"], finding["what"]): finding for finding in json.loads(said)}
    for name in namespaces:
        taken = found[f"kubernetes:{name}/{name}", "takes them"]
        assert (taken["verdict"], taken["told"]) == ("ok", "it would take all 2 replicas")

    project.write(image="rig/engine:2")  # a change of build: one replica after the other, and no request is lost
    lost = 0
    changing = subprocess.Popen(
        [sys.executable, "-m", "polyfleet", "up", "fleet.yaml", "--port", str(project.port)], cwd=project.folder,
        env=project.environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    asked = 0
    while changing.poll() is None:
        answer = http.post(f"{url}/completions", json=TEXT | {"model": "chat"}, headers=headers)
        asked, lost = asked + 1, lost + (answer.status_code != 200)
    print(f"a new build rolled under {asked} requests, {lost} of them lost")
    assert changing.returncode == 0
    assert lost == 0
    images = {pod.spec.containers[0].image for name in namespaces for pod in admin.list(Pod, namespace=name)
              if not pod.metadata.deletionTimestamp}  # fmt: skip
    assert images == {"rig/engine:2"}

    print(project.run("down"))
    for name in namespaces:
        wait_for(lambda: not left(admin, name), 30)  # noqa: B023


def test_what_cannot_be_is_told_before_anything_is_made(
    project: Project, namespaces: tuple[str, str], admin: Client
) -> None:
    project.write(east="nowhere")
    said = project.up(code=2)
    assert said.count("\n") == 1
    assert "the kubeconfig has no such context" in said
    project.environment["KUBECONFIG"] = str(Path(project.environment["KUBECONFIG"]).with_name("bob.yaml"))
    project.write()
    said = project.up(code=1)
    assert said.count("\n") == 1
    assert "no right to" in said
    assert not [one for name in namespaces for one in left(admin, name)]


def test_an_image_that_is_not_there_is_told_and_a_second_up_finishes_the_work(
    project: Project, namespaces: tuple[str, str], admin: Client
) -> None:
    project.write(image="nowhere.invalid/engine:1")
    said = project.up("--timeout", "8", code=1)
    assert "not ready after 8 s" in said
    assert "its image nowhere.invalid/engine:1 cannot be had (ErrImagePull)" in project.run("status")
    project.write()
    project.up()
    assert sum(len(found) for name in namespaces for found in pods(admin, name).values()) == 4
    project.run("down")
