"""A place that cannot be looked at, or whose driver cannot be made, under one keeper with others."""

import pytest

from polyfleet.database import open_database
from polyfleet.errors import InputError
from polyfleet.launch.fake import FakeDriver
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.places import Places
from polyfleet.launch.state import State
from polyfleet.terms.fleet import ReplicaSpec, ReplicaState


def spec(name, place):
    return ReplicaSpec(id=name, workload=name, served=(name,), engine="command", weights="w", place=place)


@pytest.fixture
def state(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield State(engine, "home")
    engine.dispose()


def test_a_place_whose_context_is_gone_holds_up_no_other_and_says_so(state, tmp_path):
    here = FakeDriver()

    def make(place):
        if place == "gone":
            raise InputError("the kubeconfig has no such context", value="gone")
        return here

    state.want([spec("chat-0", "gone"), spec("talk-0", "here")], "spec.yaml")
    keeper = Keeper(state, Places(make), tmp_path / "routes.json")
    keeper.tick()
    keeper.close()
    assert list(here.alive) == ["talk-0"]
    told = state.replicas()["chat-0"]
    assert told.state is not ReplicaState.READY
    assert "no such context" in told.last_lines[0]
    assert state.wanted().seen == state.wanted().asked


def test_a_home_is_not_closed_while_a_place_that_may_hold_replicas_cannot_be_looked_at(state, tmp_path):
    """What was started, and never noted before the keeper died, is found once the place answers, and ended."""
    there, away = FakeDriver(), [True]
    there.start(spec("chat-0", "there"))

    def make(_place):
        if away[0]:
            raise InputError("away")
        return there

    state.want([spec("chat-0", "there")], "spec.yaml")
    state.close()
    keeper = Keeper(state, Places(make, state.places(), state.replicas()), tmp_path / "routes.json")
    assert not any(keeper.tick() for _ in range(3))
    away[0] = False
    keeper.tick()
    keeper.close()
    assert list(keeper._known) == ["chat-0"]
