"""Endpoints under the keeper: known, never asked, kept over its death; and the routes that the gate then reads."""

from __future__ import annotations

import threading

import pytest
from launch_processes import toy

from polyfleet.database import open_database
from polyfleet.errors import InputError, LaunchError
from polyfleet.launch.driver import Alive, StillThereError
from polyfleet.launch.endpoint_driver import EndpointDriver
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.places import Places
from polyfleet.launch.routes import routes_of
from polyfleet.launch.state import State
from polyfleet.launch.watch import Answer, ask_over_http
from polyfleet.terms.fleet import ENDPOINT, Replica, ReplicaState
from polyfleet.terms.route import SizeBucket, routes_from_json

SIZES = ((100.0, 20.0), (3000.0, 400.0))


def endpoint(name="chat-groq", **changes):
    given = {
        "engine": "command", "place": ENDPOINT, "url": "https://api.groq.test", "path": "/openai/v1", "key_env": "K",
        "command": (), **changes,
    }  # fmt: skip
    return toy(name, **given)


def replica(spec, state=ReplicaState.READY):
    return Replica(spec=spec, state=state, pid=0, process_started=1.0, url=spec.url or "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key_env": "MISSING"}, "https://api.groq.test needs a key, and MISSING is not set"),
        ({"key_env": "BLANK"}, "BLANK is not set"),
        ({"key_env": None, "key_file": "nowhere"}, "nowhere holds no key: No such file"),
        ({"key_env": None, "key_file": "empty"}, "empty holds no key"),
        ({"key_env": None, "key_file": "bytes"}, "bytes holds no key: it is no text"),
    ],
)
def test_a_key_that_is_not_there_is_told_before_anything_is_wanted(tmp_path, monkeypatch, changes, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text(" ")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "key").write_text("hush")
    driver, there = EndpointDriver(tmp_path), {"K": "hush", "BLANK": " "}
    driver.check([endpoint(), endpoint("b", key_env=None), endpoint("c", key_env=None, key_file="key")], there)
    with pytest.raises(InputError, match=told):
        driver.check([endpoint(), endpoint("d", **changes)], there)


def test_an_endpoint_is_known_until_it_is_stopped_whoever_asks(tmp_path):
    driver = EndpointDriver(tmp_path)
    started = driver.start(endpoint())
    assert started.url == "https://api.groq.test"
    other = EndpointDriver(tmp_path)  # a keeper that takes over
    (alive,) = other.list().values()
    assert (alive.spec, alive.pid, alive.process_started) == (endpoint(), started.pid, started.process_started)
    with pytest.raises(StillThereError):
        other.start(endpoint())
    assert next(other.logs("chat-groq")).startswith("chat-groq runs at https://api.groq.test/openai/v1")
    other.stop(replica(endpoint()), 1.0)
    assert driver.list() == {}
    with pytest.raises(LaunchError, match="no log"):
        next(driver.logs("chat-groq"))


def test_many_stopped_at_once_are_all_forgotten(tmp_path):
    driver = EndpointDriver(tmp_path)
    for n in range(20):
        driver.start(endpoint(f"e{n}"))
    threads = [threading.Thread(target=driver.stop, args=(replica(endpoint(f"e{n}")), 1.0)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert driver.list() == {}


def test_a_broken_list_is_told_of_with_what_to_do(tmp_path):
    (tmp_path / "endpoints.json").write_text("{")
    with pytest.raises(LaunchError, match="remove it"):
        EndpointDriver(tmp_path).list()


def test_an_endpoint_is_ready_without_being_asked():
    for engine in ("command", "vllm"):
        spec = endpoint(url="http://127.0.0.1:9", engine=engine)
        assert ask_over_http(Alive(spec, 0, 1.0, spec.url)) == Answer(ready=True)


def test_its_route_bears_path_key_and_shares_and_no_key():
    hosted = endpoint(shares=(1.0, 3.0), buckets=SIZES, key_env=None, key_file="/secrets/groq")
    own = toy("own", shares=(3.0, 1.0), buckets=SIZES, served=hosted.served)
    found = routes_from_json(routes_of([replica(hosted), replica(own)]).model_dump_json())
    groq, mine = found.routes
    assert (groq.id, groq.url, groq.path, groq.engine) == ("chat-groq", "https://api.groq.test", "/openai/v1", "openai")
    assert (groq.key_env, groq.key_file, groq.has_key) == (None, "/secrets/groq", True)
    assert (groq.weights, mine.weights) == ((1.0, 3.0), (3.0, 1.0))
    sizes = tuple(SizeBucket(input_tokens=i, output_tokens=o) for i, o in SIZES)
    assert found.buckets == dict.fromkeys(hosted.served, sizes)


def test_replicas_without_a_plan_have_weights_and_no_buckets():
    found = routes_of([replica(endpoint(shares=(2.0,))), replica(toy("own"))])
    assert [(route.weight, route.weights) for route in found.routes] == [(2.0, ()), (1.0, ())]
    assert found.buckets == {}


def test_while_one_plan_follows_another_the_buckets_are_those_of_most_replicas():
    before = [replica(toy(f"old-{n}", shares=(4.0, 2.0), buckets=SIZES)) for n in range(2)]
    after = replica(toy("new", shares=(1.0,), buckets=((500.0, 50.0),)))
    found = routes_of([*before, after])
    assert [len(sizes) for sizes in found.buckets.values()] == [2] * len(after.spec.served)
    weights = {route.id: (route.weight, route.weights) for route in found.routes}
    assert weights == {"new": (1.0, ()), "old-0": (3.0, (4.0, 2.0)), "old-1": (3.0, (4.0, 2.0))}


def test_a_keeper_that_dies_leaves_no_gap_in_the_routes(tmp_path):
    """The routes file, written by a first keeper and then by its heir, always has the endpoint."""
    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    state = State(engine, "home")
    state.want([endpoint()], "fleet.yaml")
    routes_file = tmp_path / "routes.json"

    def keeper():
        places = Places(lambda _: EndpointDriver(tmp_path), (ENDPOINT,), state.replicas())
        return Keeper(state, places, routes_file)

    first = keeper()
    for _ in range(200):
        first.tick()
        if routes_file.exists() and "chat-groq" in routes_file.read_text():
            break
        threading.Event().wait(0.02)
    first.close()
    heir = keeper()
    for _ in range(5):
        heir.tick()
        assert [route.id for route in routes_from_json(routes_file.read_text()).routes] == ["chat-groq"]
    heir.close()
    assert state.replicas()["chat-groq"].restarts == 0
    engine.dispose()
