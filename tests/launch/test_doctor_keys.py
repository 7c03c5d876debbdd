"""What `doctor` does with a host's key: it goes to that host alone, and is never printed."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from polyfleet.launch.doctor import machine
from polyfleet.launch.doctor.hosts import look_at_endpoint
from polyfleet.launch.home import Home
from polyfleet.terms.fleet import ENDPOINT, ReplicaSpec


def endpoint(url, **changes):
    return ReplicaSpec(
        id="chat-box",
        workload="chat",
        served=("chat",),
        engine="openai",
        weights="m",
        place=ENDPOINT,
        url=url,
        **changes,
    )


@pytest.fixture
def redirecting():
    """A host that sends whoever asks to another of its ports; what the other one was asked is kept."""
    asked, servers = [], []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["authorization"])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class First(Other):
        def do_GET(self):
            self.send_response(302)
            self.send_header("location", f"http://127.0.0.1:{servers[0].server_port}/v1/models")
            self.send_header("content-length", "0")
            self.end_headers()

    for handler in (Other, First):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{servers[1].server_port}", asked
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_key_does_not_follow_a_redirect(redirecting):
    url, asked = redirecting
    found = look_at_endpoint(endpoint(url, key_env="BOX"), {"BOX": "sk-secret"})
    assert asked == []
    assert (found.verdict, "302" in found.told) == ("unknown", True)


@pytest.mark.parametrize("key", ["sk-secret\nsk-other", "sk-secret x", "sk-secret\u2026"])
def test_a_key_that_is_none_is_told_of_and_not_printed(tmp_path, key):
    (tmp_path / "key").write_text(key)
    found = look_at_endpoint(endpoint("http://127.0.0.1:9", key_file=str(tmp_path / "key")), {})
    assert found.verdict == "fails"
    assert "secret" not in found.told


def test_a_home_whose_folder_is_still_to_be_made_has_room(tmp_path):
    home = Home(tmp_path / "not" / "there" / "yet", "sqlite://")
    assert next(f.verdict for f in machine(home) if f.what == "disk") == "ok"
