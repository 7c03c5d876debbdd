"""The keeper with a fake driver and a real database: it may die between any two things that it does."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from launch_processes import toy
from sqlalchemy import text

from polyfleet.database import open_database
from polyfleet.errors import LaunchError
from polyfleet.files import write_whole
from polyfleet.launch.fake import FakeDriver
from polyfleet.launch.keeper import Keeper
from polyfleet.launch.places import Places
from polyfleet.launch.reconcile import GATE, Pace
from polyfleet.launch.state import State
from polyfleet.terms.fleet import ReplicaSpec, ReplicaState

MOMENTS = 48
"""Between the acts of one life, counted below."""
PACE = Pace(delays_s=(0.0, 0.0), failing_s=1e6, settle_s=0.0, drain_s=0.0)


class PromptWatch:
    """Every replica has just answered that it is ready and idle."""

    def __init__(self):
        self.ids = ()

    def look(self, alive, often):  # noqa: ARG002
        self.ids = tuple(alive)

    def silent_s(self):
        return dict.fromkeys(self.ids, 0.0)

    def busy(self):
        return dict.fromkeys(self.ids, 0)

    def close(self):
        pass


class KilledError(BaseException):
    """kill -9: nothing catches it."""


class Killing:
    """Passes calls on to what it wraps, and dies before or after the n-th of them."""

    def __init__(self, wrapped, fuse, names):
        self._wrapped, self._fuse, self._names = wrapped, fuse, names

    def __getattr__(self, name):
        found = getattr(self._wrapped, name)
        if name not in self._names:
            return found

        def call(*args, **kwargs):
            self._fuse.burn()
            done = found(*args, **kwargs)
            self._fuse.burn()
            return done

        return call


class Fuse:
    def __init__(self, length):
        self.left = length

    def burn(self):
        self.left -= 1
        if self.left == 0:
            raise KilledError


def specs(*names, **changes):
    return [
        ReplicaSpec(**{"id": n, "workload": "chat", "served": ("chat",), "engine": "command", "weights": "w"} | changes)
        for n in names
    ]


def front():
    return ReplicaSpec(id=GATE, workload="", served=(GATE,), engine=GATE, weights="", port=8000)


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request, tmp_path):
    """A state in each kind of database."""
    url = f"sqlite:///{tmp_path / 'both.db'}"
    engine = open_database(url if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    yield engine
    engine.dispose()


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _file: None)  # killed processes are tried here, not power cuts
    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield State(engine, "home")
    engine.dispose()


def settle(keeper, ticks=8):
    """Ticks until it asks for nothing more; True where the home was closed."""
    for _ in range(ticks):
        closed = keeper.tick()
        for stop in list(keeper._stops.values()):
            stop.exception()
        if closed:
            return True
    return False


def keeper_of(state, driver, tmp_path, **more):
    return Keeper(state, driver, tmp_path / "routes.json", watch=PromptWatch(), pace=PACE, **more)


def test_replicas_come_up_and_the_routes_name_them_but_not_the_gate(state, tmp_path):
    driver = FakeDriver()
    state.want([*specs("chat-0", "chat-1"), front()], "spec.yaml")
    keeper = keeper_of(state, driver, tmp_path)
    settle(keeper)
    keeper.close()
    routes = json.loads((tmp_path / "routes.json").read_text())["routes"]
    assert {r["id"]: r["url"] for r in routes} == {i: driver.alive[i].url for i in ("chat-0", "chat-1")}
    assert {i: r.state for i, r in state.replicas().items()} == dict.fromkeys(driver.alive, ReplicaState.READY)
    assert set(driver.alive) == {"chat-0", "chat-1", GATE}


def test_a_route_is_gone_before_its_replica_is_ended(state, tmp_path):
    driver = FakeDriver()
    told = []
    driver_stop = driver.stop
    driver.stop = lambda replica, grace_s: (
        told.append(json.loads((tmp_path / "routes.json").read_text())["routes"]), driver_stop(replica, grace_s)
    )  # fmt: skip
    state.want(specs("chat-0", "chat-1"), "s")
    keeper = keeper_of(state, driver, tmp_path)
    settle(keeper)
    state.want(specs("chat-0"), "s")
    settle(keeper)
    keeper.close()
    assert [{r["id"]: r["state"] for r in routes} for routes in told] == [{"chat-0": "open", "chat-1": "draining"}]


def test_an_engine_that_dies_at_start_is_failing_with_its_own_words(state, tmp_path):
    driver = FakeDriver()
    driver.broken["chat-0"] = ("polyfleet: starting chat-0", "loading", "cuda: out of memory")
    state.want(specs("chat-0"), "s")
    keeper = keeper_of(state, driver, tmp_path)
    settle(keeper)
    keeper.close()
    found = state.replicas()["chat-0"]
    assert (found.state, found.restarts) == (ReplicaState.FAILING, 3)
    assert found.last_lines == ("loading", "cuda: out of memory")
    assert driver.started == ["chat-0"] * 3


@pytest.mark.parametrize("moment", range(1, MOMENTS + 1))
def test_killed_at_any_moment_of_coming_up_changing_and_going_down_it_leaves_nothing_twice_and_nothing_behind(
    state, tmp_path, moment
):
    """The fake refuses to start a replica beside itself, and counts; every moment between two acts is tried once."""
    driver, fuse = FakeDriver(), Fuse(moment)
    killing_driver = Killing(driver, fuse, {"start", "stop"})
    killing_state = Killing(state, fuse, {"save"})

    def carry_on():
        try:
            keeper = Keeper(killing_state, killing_driver, tmp_path / "routes.json", watch=PromptWatch(), pace=PACE)
            return settle(keeper)
        except KilledError:
            keeper = Keeper(killing_state, killing_driver, tmp_path / "routes.json", watch=PromptWatch(), pace=PACE)
            return settle(keeper)

    state.want([*specs("chat-0", "chat-1"), front()], "s")
    carry_on()
    assert sorted(driver.started) == sorted(driver.alive) == ["chat-0", "chat-1", GATE]
    state.want([*specs("chat-0", slots=9), *specs("chat-2"), front()], "s")
    carry_on()
    assert sorted(driver.alive) == ["chat-0", "chat-2", GATE]
    assert sorted(driver.started) == ["chat-0", "chat-0", "chat-1", "chat-2", GATE]
    state.close()
    assert carry_on()
    assert driver.alive == {}
    assert state.replicas() == {}


def test_the_moments_tried_above_are_all_that_there_are(state, tmp_path):
    fuse, driver = Fuse(10**9), FakeDriver()
    keeper = Keeper(
        Killing(state, fuse, {"save"}), Killing(driver, fuse, {"start", "stop"}), tmp_path / "routes.json",
        watch=PromptWatch(), pace=PACE,
    )  # fmt: skip
    state.want([*specs("chat-0", "chat-1"), front()], "s")
    settle(keeper, 5)
    state.want([*specs("chat-0", slots=9), *specs("chat-2"), front()], "s")
    settle(keeper, 6)
    state.close()
    settle(keeper, 6)
    assert driver.alive == {}
    assert 10**9 - fuse.left == MOMENTS


def test_while_disk_and_database_are_away_what_dies_comes_back_and_all_is_written_down_later(
    state, tmp_path, caplog, monkeypatch
):
    driver, away = FakeDriver(), [False]
    keeper = keeper_of(state, driver, tmp_path)
    state.want(specs("chat-0", "chat-1"), "s")
    settle(keeper)
    first = driver.alive["chat-0"].url

    def failing(found, words):
        def call(*args):
            if away[0]:
                raise LaunchError(words)
            return found(*args)

        return call

    for name in ("wanted", "save", "acknowledge", "sign"):
        monkeypatch.setattr(state, name, failing(getattr(state, name), "the state cannot be used: away"))
    monkeypatch.setattr("polyfleet.launch.keeper.write_whole", failing(write_whole, "no space left"))
    away[0] = True
    driver.kill("chat-0")
    settle(keeper)
    assert driver.alive["chat-0"].url != first
    assert [r.getMessage() for r in caplog.records].count("the state cannot be used: away") == 1
    away[0] = False
    settle(keeper)
    keeper.close()
    assert state.replicas()["chat-0"].url == driver.alive["chat-0"].url
    routes = json.loads((tmp_path / "routes.json").read_text())["routes"]
    assert {r["url"] for r in routes} == {a.url for a in driver.alive.values()}


def test_what_drains_is_not_ended_while_the_gate_cannot_be_told(state, tmp_path, monkeypatch):
    driver = FakeDriver()
    keeper = keeper_of(state, driver, tmp_path)
    state.want(specs("chat-0"), "s")
    settle(keeper)

    def full(*_):
        raise LaunchError("no space left")

    state.want((), "s")
    with monkeypatch.context() as patched:
        patched.setattr("polyfleet.launch.keeper.write_whole", full)
        settle(keeper)
        assert list(driver.alive) == ["chat-0"]
    settle(keeper)
    keeper.close()
    assert driver.alive == {}


def test_rows_of_another_version_are_told_or_left_out(both):
    state = State(both, "here")
    state.want(specs("chat-0"), "s")
    with both.begin() as db:
        db.execute(text('UPDATE launch_wanted SET spec = \'{"id": "chat-0", "more": 1}\''))
        db.execute(text("INSERT INTO launch_replicas VALUES ('here', 'chat-0', 'ready', '{}')"))
    with pytest.raises(LaunchError, match="another version"):
        state.wanted()
    assert state.replicas() == {}


def test_two_homes_in_one_database_do_not_see_each_other(both):
    state, other = State(both, "here"), State(both, "elsewhere")
    state.want(specs("chat-0"), "here.yaml")
    other.want(specs("talk-0"), "there.yaml")
    other.close()
    assert [s.id for s in state.wanted().specs] == ["chat-0"]
    assert (other.wanted().specs, other.wanted().closing, state.wanted().closing) == ((), True, False)


def test_what_is_saved_is_read_back_and_only_what_changed_is_written(both, tmp_path):
    state, driver = State(both, "here"), FakeDriver()
    state.want(specs("chat-0", "chat-1", slots=7), "spec.yaml")
    keeper = keeper_of(state, driver, tmp_path)
    settle(keeper)
    keeper.close()
    before = state.replicas()
    assert before == State(both, "here").replicas()
    assert {i: (r.pid, r.url, r.state) for i, r in before.items()} == {
        i: (a.pid, a.url, ReplicaState.READY) for i, a in driver.alive.items()
    }
    changed = before["chat-0"].model_copy(update={"restarts": 2, "last_lines": ("ä\u2028 'quoted' \\",)})
    state.save(before, {"chat-0": changed})
    assert state.replicas() == {"chat-0": changed}


def test_tables_can_be_made_by_many_at_once(both):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: State(both, f"home-{n}"), range(8)))
    for number, state in enumerate(made):
        state.want(specs(f"chat-{number}"), "s")
    assert [[s.id for s in state.wanted().specs] for state in made] == [[f"chat-{n}"] for n in range(8)]


def test_up_run_again_gives_what_failed_another_try_at_once(state, tmp_path):
    driver = FakeDriver()
    driver.broken["chat-0"] = ("no licence",)
    state.want(specs("chat-0"), "s")
    keeper = keeper_of(state, driver, tmp_path)
    settle(keeper)
    assert state.replicas()["chat-0"].state is ReplicaState.FAILING
    driver.broken.clear()
    settle(keeper)
    assert driver.alive == {}  # the next try would be long from now
    state.want(specs("chat-0"), "s")
    settle(keeper)
    keeper.close()
    assert state.replicas()["chat-0"].state is ReplicaState.READY
    assert state.wanted().seen == state.wanted().asked == 2


def test_a_round_that_has_many_to_start_looks_at_the_others_in_between(state, tmp_path, monkeypatch):
    """As where each start asks an API server that is slow."""
    monkeypatch.setattr("polyfleet.launch.keeper._START_S", 0.0)
    driver = FakeDriver()
    state.want(specs("chat-0", "chat-1"), "spec.yaml")
    keeper = keeper_of(state, driver, tmp_path)
    keeper.tick()
    assert driver.started == []
    assert {r.state for r in state.replicas().values()} == {ReplicaState.STARTING}
    monkeypatch.setattr("polyfleet.launch.keeper._START_S", 9.0)
    settle(keeper)
    assert driver.started == ["chat-0", "chat-1"]
    assert {(r.state, r.restarts) for r in state.replicas().values()} == {(ReplicaState.READY, 0)}
    keeper.close()


class Away(FakeDriver):
    """A place that nobody can look at."""

    def list(self):
        raise LaunchError("the login has run out")


def test_a_place_that_cannot_be_looked_at_is_as_it_was_and_nothing_is_closed_before_it_could_be(tmp_path):
    state = State(open_database(f"sqlite:///{tmp_path / 'state.db'}"), "home")
    here, there = FakeDriver(), FakeDriver()
    drivers = {"local": here, "sky": there}
    specs = [toy("a-0"), toy("b-0", place="sky")]
    places = Places(drivers.__getitem__, ("local",))
    keeper = Keeper(state, places, tmp_path / "routes.json", watch=PromptWatch(), pace=PACE)
    state.want(specs, "spec")
    for _ in range(3):
        keeper.tick()
    assert state.places() == ("local", "sky")
    keeper.close()

    drivers["sky"] = Away()
    places = Places(drivers.__getitem__, ("local", *state.places()), state.replicas())
    keeper = Keeper(state, places, tmp_path / "routes.json", watch=PromptWatch(), pace=PACE)
    keeper.tick()
    assert {i: (r.state, r.restarts) for i, r in state.replicas().items()} == {
        "a-0": (ReplicaState.READY, 0),
        "b-0": (ReplicaState.READY, 0),
    }
    state.close()
    assert not any(keeper.tick() for _ in range(6))
    assert here.alive == {}
    keeper.close()

    drivers["sky"] = there
    places = Places(drivers.__getitem__, ("local", *state.places()), state.replicas())
    keeper = Keeper(state, places, tmp_path / "routes.json", watch=PromptWatch(), pace=PACE)
    assert any(keeper.tick() for _ in range(6))
    keeper.close()
    assert there.alive == {}
    state.forget_places()
    assert state.places() == ()
