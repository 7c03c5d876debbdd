"""Asking replicas how they are: over real sockets, and with answers that are late, wrong or missing."""

import http.server
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_processes import eventually, toy

from polyfleet.launch.driver import Alive
from polyfleet.launch.reconcile import GATE
from polyfleet.launch.watch import Answer, Watch, ask_over_http, metrics_of

PAGE = """\
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
llamacpp:requests_deferred 2
"""
GATE_PAGE = 'polyfleet_in_flight{route="chat-0"} 4.0\npolyfleet_in_flight{route="chat-1"} 0.0\n'


@pytest.fixture
def served():
    """Serve pages by path; anything else is 503."""
    servers = []

    def serve(**pages):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = pages.get(self.path.strip("/"))
                self.send_response(503 if body is None else 200)
                self.end_headers()
                self.wfile.write((body or "").encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def alive(url, name="chat-0", **changes):
    return Alive(toy(name, **changes), 7, 1.0, url)


def test_an_engine_tells_whether_it_is_ready_and_how_much_is_in_it(served):
    assert ask_over_http(alive(served(health="ok", metrics=PAGE), engine="llama.cpp")) == Answer(True, 5)
    assert ask_over_http(alive(served(metrics=PAGE), engine="llama.cpp")) == Answer(False)
    assert ask_over_http(alive(served(health="ok"), engine="llama.cpp")) == Answer(True, None)
    assert ask_over_http(alive(served(health="ok"))) == Answer(True, None)
    assert ask_over_http(alive(served(ok="yes"), health="/ok")) == Answer(True, None)


def test_a_closed_port_and_one_that_speaks_no_http_are_not_ready():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def mumble():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"mumble\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=mumble)
        thread.start()
        assert ask_over_http(alive(url)) == Answer(False)
        thread.join()
    assert ask_over_http(alive(url)) == Answer(False)


def test_the_gate_tells_what_is_in_replicas_that_do_not_tell_themselves(served):
    gate = Alive(toy(GATE, engine=GATE), 8, 1.0, served(health="ok", metrics=GATE_PAGE))
    mute, telling = alive(served(health="ok")), alive(served(health="ok", metrics=PAGE), "chat-1", engine="llama.cpp")
    watch = Watch()
    everyone = {one.spec.id: one for one in (gate, mute, telling)}

    def told():
        watch.look(everyone, frozenset(everyone))
        return watch.busy() == {GATE: 0, "chat-0": 4, "chat-1": 5}

    eventually(told)
    assert set(watch.silent_s().values()) == {0.0}
    watch.close()


def test_a_frozen_replica_does_not_hold_up_the_others_and_its_silence_grows():
    """Time is moved by hand; the frozen one never answers, the other always does."""
    thaw, now = threading.Event(), [100.0]
    watch = Watch(lambda one: Answer(bool(thaw.wait(30)) if one.spec.id == "chat-0" else True, 0), lambda: now[0])
    both = {name: alive("http://h:1", name) for name in ("chat-0", "chat-1")}

    def look():
        watch.look(both, frozenset())
        return watch.silent_s()["chat-1"] == 0.0

    eventually(look)
    assert 0 < watch.silent_s()["chat-0"] < 0.001
    now[0] = 150.0
    watch.look(both, frozenset())
    eventually(lambda: (watch.look(both, frozenset()), watch.silent_s()["chat-1"])[1] == 0.0)
    assert watch.silent_s()["chat-0"] == 50.0
    thaw.set()
    watch.close()


def test_a_replica_started_again_is_asked_anew():
    watch = Watch(lambda one: Answer(one.pid == 7))
    first, second = {"chat-0": alive("http://h:1")}, {"chat-0": Alive(toy(), 8, 2.0, "http://h:2")}
    eventually(lambda: (watch.look(first, frozenset()), watch.busy(), watch._asked[("chat-0", 7, 1.0)].answered)[2])
    watch.look(second, frozenset())
    assert not watch._asked[("chat-0", 8, 2.0)].answered
    watch.close()


@given(st.text())
def test_any_text_is_read_as_metrics_without_an_error(page):
    assert metrics_of(page, "llamacpp:requests_processing") == {}


def test_metrics_are_summed_over_their_labels():
    page = 'vllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_running{engine="1"} 3.0\nother 9\nbad x\n'
    assert metrics_of(page, "vllm:num_requests_running", "bad", None) == {"vllm:num_requests_running": 5.0}
