"""`up`, `status`, `logs` and `down` as a user runs them, judged by what runs on the machine afterwards."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from launch_processes import bearing, eventually

from polyfleet.launch.local import home_hash
from polyfleet.launch.ports import free_port
from polyfleet.launch.watch import fetch

SPEC = """\
workloads:
  chat:
    model: {model}
    traffic: {{rate: 1/s, input: 100, output: 100}}
local:
  chat: {{engine: llama.cpp, replicas: {replicas}, slots: 2, context: 512}}
"""


class Project:
    """A folder with a spec, and the command line run in it."""

    def __init__(self, folder):
        self.folder, self.home = folder, folder / ".polyfleet"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("POLYFLEET")}

    def write(self, replicas=2, model="polyfleet/tiny"):
        (self.folder / "spec.yaml").write_text(SPEC.format(replicas=replicas, model=model))

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "polyfleet", *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments):
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def running(self):
        """Marks of all processes that bear one of this home."""
        return sorted(bearing(home_hash(self.home)).values())

    def keepers(self):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().split(b"\0")
                    surroundings = (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"polyfleet.launch" in command and f"POLYFLEET_HOME={self.home}".encode() in surroundings:
                    found.append(int(entry.name))
        return found

    def marks(self, *names):
        return [f"{home_hash(self.home)}/{name}" for name in names]


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path.resolve())
    made.write()
    yield made
    for pid in (*made.keepers(), *bearing(home_hash(made.home))):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not made.running() and not made.keepers())


def test_up_brings_up_what_the_spec_says_again_changes_nothing_and_down_leaves_nothing(project):
    port = str(free_port())
    code, out, err = project.run("up", "spec.yaml", "--port", port)
    assert (code, err) == (0, "")
    assert out.count("ready") == 3
    assert project.running() == project.marks("chat-0", "chat-1", "gate")
    before = bearing(home_hash(project.home))
    routes = json.loads((project.home / "routes.json").read_text())["routes"]
    assert all(fetch(route["url"], "/health") is not None for route in routes)
    key = re.search(r"^key +(pf-\S+)", out, re.MULTILINE)[1]
    answer = ask(port, key)
    assert answer["usage"]["completion_tokens"] == 5
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(port, "pf-none")

    code, again, _ = project.run("up", "spec.yaml", "--port", port)
    assert (code, "pf-" in again) == (0, False)
    assert bearing(home_hash(project.home)) == before
    assert len(project.keepers()) == 1

    seen = json.loads(project.run("status", "--json")[1])
    assert {r["id"]: (r["state"], r["pid"] in before) for r in seen["replicas"]} == {
        "chat-0": ("ready", True), "chat-1": ("ready", True)
    }  # fmt: skip
    assert seen["endpoint"] == f"http://127.0.0.1:{port}/v1"
    assert sum(r["requests"] for r in seen["replicas"]) == 1
    assert "listening" in project.run("logs", "chat-0")[1]
    assert project.run("logs", "chat-9")[0] == 2

    code, out, _ = project.run("down")
    assert (code, out) == (0, "stopped chat-0, chat-1, gate\n")
    assert (project.running(), project.keepers()) == ([], [])
    assert not (project.home / "routes.json").exists()
    assert project.run("down")[1] == "nothing runs here\n"


def ask(port, key):
    """Five tokens through the gate."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise


def test_a_killed_replica_comes_back_under_its_name_and_a_smaller_spec_ends_the_rest(project):
    assert project.run("up", "spec.yaml", "--no-gate")[0] == 0
    victim = next(pid for pid, mark in bearing(home_hash(project.home)).items() if mark.endswith("/chat-1"))
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in bearing(home_hash(project.home)))
    eventually(lambda: project.running() == project.marks("chat-0", "chat-1"))
    eventually(lambda: "was ended by SIGKILL" in project.run("logs", "chat-1")[1])

    project.write(replicas=1)
    assert project.run("up", "spec.yaml", "--no-gate")[0] == 0
    eventually(lambda: project.running() == project.marks("chat-0"))


def test_after_a_killed_keeper_up_takes_over_what_runs(project):
    assert project.run("up", "spec.yaml", "--no-gate")[0] == 0
    before = bearing(home_hash(project.home))
    for pid in project.keepers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not project.keepers())
    assert "no keeper runs" in project.run("status")[1]
    assert project.run("up", "spec.yaml", "--no-gate")[0] == 0
    assert bearing(home_hash(project.home)) == before
    assert len(project.keepers()) == 1


def test_down_ends_everything_even_where_the_whole_home_was_removed(project):
    assert project.run("up", "spec.yaml", "--no-gate")[0] == 0
    shutil.rmtree(project.home)
    assert project.run("down")[:2] == (0, "stopped chat-0, chat-1\n")
    assert project.running() == []
    eventually(lambda: not project.keepers())


def test_down_ends_everything_where_the_state_cannot_be_used_and_says_so(project):
    assert project.run("up", "spec.yaml", "--no-gate")[0] == 0
    for path in project.home.glob("state.db*"):
        path.unlink()
    (project.home / "state.db").write_text("no database at all, but something long enough to be read as a header" * 9)
    code, _, err = project.run("down")
    assert code == 1
    assert "not a database; what ran was ended all the same" in err
    assert (project.running(), project.keepers()) == ([], [])


def test_a_home_stays_with_the_state_that_it_was_brought_up_with(project, postgres_url):
    project.write(replicas=1)
    assert project.run("up", "spec.yaml", "--no-gate", "--state", postgres_url)[0] == 0
    seen = json.loads(project.run("status", "--json")[1])
    assert [r["state"] for r in seen["replicas"]] == ["ready"]
    assert not (project.home / "state.db").exists()
    code, _, err = project.run("up", "spec.yaml", "--no-gate", "--state", f"sqlite:///{project.home / 'other.db'}")
    assert (code, "keeps its state in postgresql://" in err) == (1, True)
    assert project.run("down")[:2] == (0, "stopped chat-0\n")
    assert (project.running(), project.keepers()) == ([], [])


def test_an_engine_that_dies_at_start_is_told_in_its_own_words(project):
    (project.folder / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    project.write(model="broken.gguf")
    code, _, err = project.run("up", "spec.yaml", "--no-gate", "--timeout", "50")
    assert code == 1, err
    assert "does not start" in err
    assert "llama_model_load: error loading model" in err
    assert "ended with exit code 1" in err
    assert "Traceback" not in err


def test_a_taken_port_is_one_line_and_nothing_is_started(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = project.run("up", "spec.yaml", "--port", str(port))
    assert (code, out) == (1, "")
    assert err == f"error: port {port} is taken; choose another with --port\n"
    assert (project.running(), project.keepers()) == ([], [])


def test_in_the_foreground_ctrl_c_takes_all_down(project):
    with project.start("up", "spec.yaml", "--no-gate", "--foreground") as process:
        lines = iter(process.stdout.readline, "")
        assert any("Ctrl-C takes it down" in line for line in lines)
        assert project.running() == project.marks("chat-0", "chat-1")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert (project.running(), project.keepers()) == ([], [])
