"""Replicas of several places under one keeper."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubernetes_toys import replica, replica_spec, wait_for

from polyfleet.database import open_database
from polyfleet.errors import LaunchError
from polyfleet.launch.driver import Alive
from polyfleet.launch.fake import FakeDriver
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.kubernetes.fake import FakeCluster
from polyfleet.launch.places import Places
from polyfleet.launch.reconcile import Pace, View, reconcile
from polyfleet.launch.state import State
from polyfleet.launch.watch import ask_over_http
from polyfleet.terms.fleet import ReplicaState

EAST, WEST = replica_spec("chat-0", place="east"), replica_spec("chat-1", place="west")


def test_each_replica_is_with_the_driver_of_its_place_and_all_are_listed() -> None:
    drivers = {"east": FakeDriver(), "west": FakeDriver()}
    places = Places(drivers.__getitem__, ("east",))
    places.start(EAST)
    places.start(WEST)
    assert (list(drivers["east"].alive), list(drivers["west"].alive)) == (["chat-0"], ["chat-1"])
    assert set(places.list()) == {"chat-0", "chat-1"}
    assert list(places.logs("chat-1")) == ["started"]
    with pytest.raises(LaunchError, match="chat-9 has no log"):
        list(places.logs("chat-9"))
    places.stop(replica(EAST), 1)
    assert set(places.list()) == {"chat-1"}


def test_a_place_that_held_replicas_before_is_looked_at_before_anything_is_started() -> None:
    west = FakeDriver()
    west.start(WEST)
    assert set(Places({"west": west}.__getitem__, ("west",)).list()) == {"chat-1"}


def test_an_api_server_that_is_away_is_no_death_of_a_replica(
    tmp_path: Path, driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    state = State(open_database(f"sqlite:///{tmp_path / 'state.db'}"), "home")
    state.want([EAST], "spec")
    keeper = Keeper(state, driver, tmp_path / "routes.json")
    cluster.refused["apply Deployment"] = (500, "etcdserver: request timed out")
    for _ in range(6):
        keeper.tick()
    (waiting,) = state.replicas().values()
    assert (waiting.state, waiting.restarts) == (ReplicaState.STARTING, 0)
    assert "answers 500" in waiting.last_lines[0]
    cluster.refused.clear()
    keeper.tick()
    assert len(cluster.pods_of(EAST.id)) == 1
    keeper.close()


def test_what_has_no_address_is_not_asked_and_says_what_holds_it_up_until_it_comes() -> None:
    held_up = Alive(EAST, 7, 1.0, "", "no node takes it")
    assert not ask_over_http(held_up).ready
    view = View((EAST,), {}, {EAST.id: held_up}, 1000.0)
    (waiting,) = reconcile(view, Pace()).replicas.values()
    assert (waiting.state, waiting.last_lines) == (ReplicaState.STARTING, ("no node takes it",))
    come = Alive(EAST, 8, 2.0, "http://10.0.0.1:8000")
    view = View((EAST,), {EAST.id: waiting}, {EAST.id: come}, 1001.0, silent_s={EAST.id: 0.0})
    (ready,) = reconcile(view, Pace()).replicas.values()
    assert (ready.state, ready.url, ready.last_lines) == (ReplicaState.READY, come.url, ())


def test_a_deployment_whose_end_was_asked_for_by_a_keeper_that_died_is_started_anew_and_counts_as_no_death(
    tmp_path: Path, driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    state = State(open_database(f"sqlite:///{tmp_path / 'state.db'}"), "home")
    state.want([EAST], "spec")
    keeper = Keeper(state, driver, tmp_path / "routes.json")
    keeper.tick()
    cluster.slow_end = True
    for _ in range(5):
        wait_for(lambda: driver.list()[EAST.id].spec == EAST)
        keeper.tick()
        cluster.delete("Deployment", EAST.id)
        wait_for(lambda: driver.list()[EAST.id].spec != EAST)
        keeper.tick()
        cluster.end_pods()
        wait_for(lambda: EAST.id not in driver.list())
        keeper.tick()
        assert state.replicas()[EAST.id].restarts == 0
    keeper.close()
