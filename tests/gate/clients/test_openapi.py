"""The gate against its own description: what it says holds, and what it does not allow is refused."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from mock_upstream import Mock
from real_fleet import gate_in_thread
from schemathesis.generation import GenerationMode

from polyfleet.database import open_database
from polyfleet.gate.http.openapi import description
from polyfleet.gate.keys import Door, create_key

BOUNDED = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ENGINES_OWN = frozenset({"4XX", "5XX"})
OPERATIONS = [(path, method) for path, methods in description()["paths"].items() for method in methods]
POSTED = [path for path, method in OPERATIONS if method == "post"]


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """Address and key of a gate in front of a mock that answers whatever it is asked."""
    import asyncio
    import threading

    folder = tmp_path_factory.mktemp("openapi")
    loop, mock = asyncio.new_event_loop(), Mock()
    plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    mock.at_once = mock.tell = lambda *_asked: plain
    server, upstream = loop.run_until_complete(mock.serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    database = open_database(f"sqlite:///{folder / 'state.db'}")
    key = create_key(database, "schemathesis")
    with gate_in_thread(folder, {"a": f"http://127.0.0.1:{upstream}"}, Door(database)) as port:
        yield f"http://127.0.0.1:{port}", key
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    database.dispose()


@pytest.fixture(scope="module")
def schema(gate):
    return schemathesis.openapi.from_url(f"{gate[0]}/openapi.json")


def _documented(operation, response) -> None:
    """The status by its number, the content type, the headers, and the body against its schema."""
    told = operation.definition.raw["responses"]
    assert str(response.status_code) in set(told) - ENGINES_OWN, f"{response.status_code} is not documented"
    operation.validate_response(response)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_description_allows_is_answered_as_described(gate, schema, path, method):
    operation = schema[path][method.upper()]

    @BOUNDED
    @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def play(case):
        body = case.body if isinstance(case.body, dict) else {}
        if "model" in body:
            body["model"] = "m"  # the others are not found, which is tested beside
        response = case.call(headers={"authorization": f"Bearer {gate[1]}"})
        _documented(operation, response)
        refused = response.status_code == 404 and "{model}" in path
        assert response.status_code == 200 or refused, f"{case.body!r}: {response.text}"

    play()


@pytest.mark.parametrize("path", POSTED)
def test_what_the_description_does_not_allow_is_refused_and_described(gate, schema, path):
    operation = schema[path]["POST"]

    @BOUNDED
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def play(case):
        response = case.call(headers={"authorization": f"Bearer {gate[1]}"})
        _documented(operation, response)
        assert response.status_code in {400, 404}, case.body

    play()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_other_method_is_refused_with_the_right_one_named(gate, path, method):
    allowed = {method.upper()} | ({"HEAD"} if method == "get" else set())
    for other in {"GET", "PUT", "PATCH", "DELETE", "POST", "OPTIONS", "TRACE"} - allowed:
        response = requests.request(other, gate[0] + path.replace("{model}", "m"), timeout=10)
        assert response.status_code == 405
        assert set(response.headers["allow"].split(", ")) == allowed
        assert response.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", POSTED)
def test_a_stranger_reads_401_whatever_he_sends(gate, path):
    for body in (b"{", b"[]", b"{}", b"\xff", json.dumps({"model": "m"}).encode()):
        for headers in ({}, {"authorization": "Bearer no"}, {"x-api-key": "no"}):
            response = requests.post(gate[0] + path, data=body, headers=headers, timeout=10)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"


def test_a_stranger_reads_401_before_his_body_is_taken(gate):
    place = urlsplit(gate[0])
    with socket.create_connection((place.hostname, place.port), timeout=10) as stranger:
        head = f"POST {POSTED[0]} HTTP/1.1\r\nhost: gate\r\ncontent-length: 60000000\r\n\r\n"
        stranger.sendall(head.encode())
        answer = b"".join(iter(lambda: stranger.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


def test_every_path_of_the_description_is_there_and_no_other_is_told_of(gate):
    paths = requests.get(f"{gate[0]}/openapi.json", timeout=10).json()["paths"]
    unknown = requests.get(f"{gate[0]}/nope", timeout=10)
    assert unknown.status_code == 404
    assert {path for path in paths if path.startswith("/v1/") and "{" not in path} <= set(
        unknown.json()["error"]["message"].replace(",", " ").split()
    )
