"""What `doctor` finds, against registries and hosts of this machine that answer as real ones do."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from polyfleet.errors import LaunchError
from polyfleet.launch.doctor import examine, machine
from polyfleet.launch.doctor.finding import Finding
from polyfleet.launch.doctor.hosts import look_at_endpoint
from polyfleet.launch.doctor.images import Image, look_at_image, parse_image
from polyfleet.launch.doctor.places import look_at_place
from polyfleet.launch.fake import FakeDriver
from polyfleet.launch.home import Home
from polyfleet.settings import Settings
from polyfleet.terms.fleet import ENDPOINT, SKY, ReplicaSpec


@pytest.fixture
def served():
    """Starts servers: a function of (method, path, headers) gives (status, headers, body)."""
    made = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = answer(self.command, self.path, self.headers)
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        made.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("vllm/vllm-openai:v0.30.0", Image("index.docker.io", "vllm/vllm-openai", "v0.30.0")),
        ("ubuntu", Image("index.docker.io", "library/ubuntu", "latest")),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.1", Image("nvcr.io", "nvidia/tensorrt-llm/release", "1.2.1")),
        ("localhost:5000/own:1", Image("localhost:5000", "own", "1")),
        ("own.example/a/b@sha256:abc", Image("own.example", "a/b", "sha256:abc")),
        ("own.example/a/b:7@sha256:abc", Image("own.example", "a/b", "sha256:abc")),
    ],
)
def test_an_image_is_taken_apart_as_docker_does(text, parts):
    assert parse_image(text) == parts


def registry(token="free", tags=("1",)):
    """A registry that hands a token to anybody, as public ones do."""
    places = {}

    def answer(_method, path, headers):
        if path.startswith("/token"):
            assert "scope=repository%3Aown%2Fengine%3Apull" in path
            return 200, {}, json.dumps({"token": token}).encode()
        if headers.get("authorization") != "Bearer free":
            challenge = f'Bearer realm="http://{places["here"]}/token",service="r",scope="repository:own/engine:pull"'
            return 401, {"www-authenticate": challenge}, b""
        assert "vnd.oci.image.index" in headers["accept"]
        return (200 if path.rpartition("/")[2] in tags else 404), {}, b""

    return places, answer


@pytest.mark.parametrize(
    ("tag", "token", "verdict"), [("1", "free", "ok"), ("2", "free", "fails"), ("1", "x", "unknown")]
)
def test_an_image_is_asked_of_its_registry_with_the_token_that_anybody_gets(served, tag, token, verdict):
    places, answer = registry(token)
    places["here"] = served(answer)
    assert look_at_image(f"{places['here']}/own/engine:{tag}", scheme="http").verdict == verdict


def test_a_registry_that_cannot_be_asked_leaves_the_image_unknown(served):
    at = served(lambda *_: (503, {}, b""))
    assert look_at_image(f"{at}/own/engine:1", scheme="http").told == "its registry answers 503"
    basic = served(lambda *_: (401, {"www-authenticate": 'Basic realm="x"'}, b""))
    assert look_at_image(f"{basic}/own/engine:1", scheme="http").told == "its registry asks for a login"
    gone = look_at_image("127.0.0.1:9/own/engine:1", scheme="http")
    assert (gone.verdict, "cannot be asked" in gone.told) == ("unknown", True)


def endpoint(at, **changes):
    told = {"id": "host-0", "workload": "chat", "served": ("chat",), "engine": "command", "weights": "", **changes}
    return ReplicaSpec(place=ENDPOINT, url=f"http://{at}", path="/v9", **told)


def host(_method, path, headers):
    if path != "/v9/models":
        return 404, {}, b""
    if headers.get("authorization") != "Bearer right":
        return 401, {}, b""
    return 200, {}, b'{"data": [{"id": "small"}]}'


@pytest.mark.parametrize(
    ("changes", "key", "verdict", "told"),
    [
        ({"key_env": "K", "upstream_model": "small"}, "right", "ok", "answers"),
        ({"key_env": "K", "upstream_model": "large"}, "right", "unknown", "does not name large"),
        ({"key_env": "K"}, "wrong", "fails", "refuses the key (401)"),
        ({"key_env": "K"}, "", "fails", "K is not set"),
        ({}, "", "fails", "refuses the key (401)"),
    ],
)
def test_an_endpoint_is_asked_for_its_models_with_its_key(served, changes, key, verdict, told):
    found = look_at_endpoint(endpoint(served(host), **changes), {"K": key})
    assert found.verdict == verdict
    assert told in found.told
    assert "right" not in found.told


def test_a_key_is_sent_to_no_other_address_that_the_host_names(served):
    asked = []
    other = served(lambda _method, _path, headers: (asked.append(headers["authorization"]), (200, {}, b"{}"))[1])
    moved = served(lambda *_: (302, {"location": f"http://{other}/v9/models"}, b""))
    found = look_at_endpoint(endpoint(moved, key_env="K"), {"K": "right"})
    assert (found.verdict, asked) == ("unknown", [])
    assert "names another address" in found.told


@pytest.mark.parametrize("key", ["two words", "two\nlines", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_told_without_being_shown(key):
    found = look_at_endpoint(endpoint("127.0.0.1:9", key_env="K"), {"K": key})
    assert found.verdict == "fails"
    assert key not in found.told


def test_an_endpoint_that_is_away_is_unknown():
    assert look_at_endpoint(endpoint("127.0.0.1:9"), {}).verdict == "unknown"


class Refusing(FakeDriver):
    closed = False

    def check(self, specs):
        raise LaunchError(f"no quota for {len(specs)}")

    def close(self):
        self.closed = True


def test_what_a_place_refuses_is_found_and_its_driver_let_go_of():
    driver, spec = Refusing(), endpoint("x")
    assert list(look_at_place(lambda: driver, "sky", [spec])) == [
        Finding("sky", "takes them", "fails", "no quota for 1")
    ]
    assert driver.closed


def test_a_fleet_that_is_rented_needs_the_engines_key(tmp_path):
    spec = ReplicaSpec(id="a-0", workload="chat", served=("chat",), engine="vllm", weights="", place=SKY)
    home = Home.of(Settings(tmp_path))
    key, place = examine(home, [spec], {}, lambda _home, _place: Refusing())
    assert (key.what, key.verdict) == ("VLLM_API_KEY", "fails")
    assert (place.area, place.told) == ("sky", "no quota for 1")
    key, _ = examine(home, [spec], {"VLLM_API_KEY": "hush"}, lambda _home, _place: Refusing())
    assert (key.verdict, key.told) == ("ok", "set")


def test_the_machine_is_told_of_extras_disk_and_memory(tmp_path):
    found = {finding.what: finding for finding in machine(Home.of(Settings(tmp_path / "home")))}
    assert found["extra serve"].verdict == "ok"
    assert "GiB free" in found["disk"].told
    assert "memory" in found
