"""Steps from what runs to what is wanted, judged by timelines worked out by hand and by where they come to rest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.launch.driver import Alive
from polyfleet.launch.fake import FakeDriver
from polyfleet.launch.reconcile import GATE, Pace, View, reconcile
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState

PACE = Pace(delays_s=(0.0, 0.5, 2.0), failing_s=60, steady_s=60, settle_s=1, drain_s=30, hang_s=10)


def wanted_spec(name="chat-0", **changes):
    return ReplicaSpec(
        **{"id": name, "workload": "chat", "served": ("chat",), "engine": "command", "weights": "w"} | changes
    )


def gate(**changes):
    return wanted_spec(GATE, workload="", engine=GATE, **changes)


def alive(spec, pid=7):
    return Alive(spec, pid, float(pid), f"http://127.0.0.1:{pid}")


def replica(spec, state=ReplicaState.READY, pid=7, **more):
    where = {"pid": pid, "process_started": float(pid), "url": f"http://127.0.0.1:{pid}"} if pid else {}
    return Replica(spec=spec, state=state, **where | more)


def step(wanted, known=(), running=(), now=100.0, **view):
    alive_now = {a.spec.id: a for a in running}
    return reconcile(View(tuple(wanted), {r.spec.id: r for r in known}, alive_now, now, **view), PACE)


def test_what_is_wanted_and_absent_is_started():
    spec = wanted_spec()
    done = step([spec])
    assert done.start == (spec,)
    assert done.replicas["chat-0"].state is ReplicaState.STARTING


def test_what_runs_and_is_not_remembered_is_taken_over_not_started():
    spec = wanted_spec()
    done = step([spec], running=[alive(spec)])
    taken = done.replicas["chat-0"]
    assert (done.start, done.stop) == ((), ())
    assert (taken.pid, taken.url, taken.state) == (7, "http://127.0.0.1:7", ReplicaState.STARTING)


def test_it_is_ready_once_its_health_check_is_answered():
    spec = wanted_spec()
    starting = replica(spec, ReplicaState.STARTING)
    assert step([spec], [starting], [alive(spec)]).replicas["chat-0"].state is ReplicaState.STARTING
    assert (
        step([spec], [starting], [alive(spec)], silent_s={"chat-0": 3.0}).replicas["chat-0"].state
        is ReplicaState.STARTING
    )
    assert (
        step([spec], [starting], [alive(spec)], silent_s={"chat-0": 0.0}).replicas["chat-0"].state is ReplicaState.READY
    )


def test_a_number_used_again_by_another_process_is_another_replica():
    spec = wanted_spec()
    known = replica(spec).model_copy(update={"process_started": 1.0})
    taken = step([spec], [known], [alive(spec)]).replicas["chat-0"]
    assert (taken.state, taken.process_started) == (ReplicaState.STARTING, 7.0)


def test_deaths_in_a_row_are_met_with_the_delays_of_the_pace_and_then_rarely():
    """By hand: looked at every 1/8 s, dead at each look after a start; delays 0, 0.5, 2, then 60 s."""
    spec, known, starts = wanted_spec(), [], []
    now = 0.0
    while now <= 130:
        done = step([spec], known, now=now)
        current = done.replicas["chat-0"]
        if done.start:
            starts.append(now)
            current = current.model_copy(update={"pid": 9, "process_started": now, "url": "http://h:1"})
        known = [current]
        now += 0.125
    assert starts == [0.0, 0.125, 0.75, 2.875, 63.0, 123.125]
    assert current.state is ReplicaState.FAILING


def test_a_minute_of_readiness_forgives_deaths():
    spec = wanted_spec()
    known = replica(spec, restarts=3, since=50.0, last_lines=("out of memory",))
    assert step([spec], [known], [alive(spec)], now=109.9).replicas["chat-0"].restarts == 3
    assert step([spec], [known], [alive(spec)], now=110.0).replicas["chat-0"].restarts == 0


def test_what_is_no_longer_wanted_drains_before_it_ends():
    spec = wanted_spec()
    draining = step([], [replica(spec)], [alive(spec)], now=100)
    assert draining.replicas["chat-0"].state is ReplicaState.DRAINING
    known = list(draining.replicas.values())
    ends = [
        bool(step([], known, [alive(spec)], now=now, busy={"chat-0": busy}).stop)
        for now, busy in ((100.5, 0), (101, 2), (129.9, 2), (130, 2), (101, 0))
    ]
    assert ends == [False, False, False, True, True]


def test_the_gate_ends_before_the_replicas_behind_it():
    spec, front = wanted_spec(), gate()
    known = [replica(spec, ReplicaState.DRAINING, since=0.0), replica(front, pid=8)]
    both = step([], known, [alive(spec), alive(front, 8)], busy={"chat-0": 0})
    assert [r.spec.id for r, _ in both.stop] == [GATE]
    after = step([], known[:1], [alive(spec)], busy={"chat-0": 0})
    assert [r.spec.id for r, _ in after.stop] == ["chat-0"]


def test_what_is_being_ended_is_not_ended_twice_nor_started_beside_itself():
    spec = wanted_spec()
    known = replica(spec, ReplicaState.DRAINING, since=0.0)
    assert not step([], [known], [alive(spec)], stopping=frozenset({"chat-0"})).stop
    assert not step([spec], [known], [], stopping=frozenset({"chat-0"})).start


def test_what_hangs_is_ended_and_started_anew():
    spec = wanted_spec(start_s=100)
    assert not step([spec], [replica(spec)], [alive(spec)], silent_s={"chat-0": 9.9}).stop
    assert step([spec], [replica(spec)], [alive(spec)], silent_s={"chat-0": 10.0}).stop
    starting = replica(spec, ReplicaState.STARTING)
    assert not step([spec], [starting], [alive(spec)], silent_s={"chat-0": 99.9}).stop
    assert step([spec], [starting], [alive(spec)], silent_s={"chat-0": 100.0}).stop


def test_what_hangs_elsewhere_is_given_longer_and_not_ended_while_all_of_them_are_silent():
    specs = [wanted_spec(f"chat-{n}", place="sky") for n in range(2)]
    known, running = (
        [replica(s, pid=n + 1) for n, s in enumerate(specs)],
        [alive(s, n + 1) for n, s in enumerate(specs)],
    )

    def ended(*silent):
        told = {f"chat-{n}": seconds for n, seconds in enumerate(silent)}
        return [r.spec.id for r, _ in step(specs, known, running, silent_s=told).stop]

    assert ended(PACE.hang_elsewhere_s - 0.1, 0.0) == []
    assert ended(PACE.hang_elsewhere_s, 0.0) == ["chat-0"]
    assert ended(PACE.hang_elsewhere_s, PACE.hang_s) == []
    alone = step(specs[:1], known[:1], running[:1], silent_s={"chat-0": PACE.hang_elsewhere_s})
    assert [r.spec.id for r, _ in alone.stop] == ["chat-0"]


def test_a_changed_workload_is_replaced_one_replica_at_a_time():
    old = [wanted_spec(f"chat-{n}") for n in range(3)]
    new = [wanted_spec(f"chat-{n}", slots=8) for n in range(3)]
    known = [replica(spec, pid=n + 1) for n, spec in enumerate(old)]
    running = [alive(spec, n + 1) for n, spec in enumerate(old)]
    first = step(new, known, running)
    draining = [i for i, r in first.replicas.items() if r.state is ReplicaState.DRAINING]
    assert len(draining) == 1
    again = step(new, first.replicas.values(), running)
    assert [i for i, r in again.replicas.items() if r.state is ReplicaState.DRAINING] == draining
    one_down = [replica(old[0], ReplicaState.STARTING, pid=1), *known[1:]]
    still = step([old[0], *new[1:]], one_down, running)
    assert all(r.state is not ReplicaState.DRAINING for r in still.replicas.values())


def draining(done):
    return [i for i, r in done.replicas.items() if r.state is ReplicaState.DRAINING]


def test_what_never_got_ready_is_replaced_at_once_and_what_was_just_taken_over_is_not():
    old = [wanted_spec(f"chat-{n}") for n in range(3)]
    new = [wanted_spec(f"chat-{n}", slots=8) for n in range(3)]
    running = [alive(spec, n + 1) for n, spec in enumerate(old)]
    since = [(ReplicaState.STARTING, 90.0), (ReplicaState.STARTING, 89.0), (ReplicaState.STARTING, 90.1)]
    known = [
        replica(spec, state, pid=n + 1, since=at) for n, (spec, (state, at)) in enumerate(zip(old, since, strict=True))
    ]
    silent = {"chat-0": 10.0, "chat-1": 11.0, "chat-2": 9.9}
    gone = step(new, known, running, silent_s=silent)
    assert draining(gone) == ["chat-0", "chat-1"]
    assert draining(step(new, gone.replicas.values(), running, silent_s=silent)) == ["chat-0", "chat-1"]
    serving = [replica(spec, pid=n + 1) for n, spec in enumerate(old)]
    assert len(draining(step(new, serving, running))) == 1


def handing_over(states, *, since=95.0, old=3):
    """Old replicas of a workload that serve, beside new ones of other names in these states; those that then drain."""
    leaving = [wanted_spec(f"old-{n}") for n in range(old)]
    new = [wanted_spec(f"new-{n}") for n in range(len(states))]
    known = [replica(spec, pid=n + 1) for n, spec in enumerate(leaving)]
    known += [
        replica(spec, state, pid=n + 11, since=since) for n, (spec, state) in enumerate(zip(new, states, strict=True))
    ]
    running = [alive(r.spec, r.pid) for r in known]
    return draining(step(new, known, running, now=1000.0))


def test_replicas_of_other_names_come_before_those_that_they_replace_go():
    ready, starting = ReplicaState.READY, ReplicaState.STARTING
    assert handing_over([starting], since=995.0) == []
    assert handing_over([ready, starting], since=995.0) == []
    assert handing_over([ready, ready]) == ["old-0", "old-1", "old-2"]


def test_those_that_do_not_come_within_the_handover_get_the_room_of_the_old_one_for_one():
    ready, starting, failing = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.FAILING
    assert handing_over([failing], since=1000.0 - PACE.handover_s) == ["old-1", "old-2"]
    assert handing_over([ready, starting, starting], since=1000.0 - PACE.handover_s) == ["old-2"]


def test_a_workload_that_is_wanted_no_more_waits_for_nothing():
    other = wanted_spec("code-0", workload="code")
    spec = wanted_spec()
    assert draining(step([other], [replica(spec)], [alive(spec)])) == ["chat-0"]


def test_a_new_price_is_taken_over_while_it_runs():
    old, new = wanted_spec(), wanted_spec(usd_per_hour=2.0, usd_per_m_output=1.0)
    done = step([new], [replica(old)], [alive(old)])
    assert done.replicas["chat-0"].spec == new
    assert (done.start, done.stop) == ((), ())


def test_a_changed_replica_that_is_down_starts_as_it_is_wanted_now_without_a_penalty():
    new = wanted_spec(slots=8)
    failing = replica(wanted_spec(), ReplicaState.FAILING, pid=None, restarts=9, since=99.0)
    done = step([new], [failing])
    assert done.start == (new,)
    assert done.replicas["chat-0"].restarts == 0


SPECS = [wanted_spec(f"chat-{n}", slots=slots) for n in range(3) for slots in (4, 8)] + [gate(), gate(slots=8)]
SPECS += [wanted_spec(f"next-{n}") for n in range(2)]
ONE_OF_EACH = st.lists(st.sampled_from(SPECS), unique_by=lambda s: s.id)
EVENT = st.one_of(
    st.tuples(st.just("want"), ONE_OF_EACH),
    st.tuples(st.just("kill"), st.sampled_from(["chat-0", "chat-1", "chat-2", GATE])),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("wait"), st.floats(0.1, 40)),
)


@settings(max_examples=300, deadline=None)
@given(ONE_OF_EACH, ONE_OF_EACH, st.lists(EVENT, max_size=12))
def test_whatever_happens_it_comes_to_rest_with_exactly_what_is_wanted(first, running, events):
    driver, known, now = FakeDriver(), {}, 0.0
    for spec in running:
        driver.start(spec)
    wanted = first

    def tick():
        nonlocal known
        current = driver.list()
        answered = dict.fromkeys(current, 0.0)
        done = reconcile(View(tuple(wanted), known, current, now, answered, dict.fromkeys(current, 0)), PACE)
        known = dict(done.replicas)
        for spec in done.start:
            made = driver.start(spec)  # raises where one of its id runs: that would be a double
            known[spec.id] = known[spec.id].model_copy(
                update={"pid": made.pid, "process_started": made.process_started, "url": made.url}
            )
        for stopped, _grace in done.stop:
            driver.stop(stopped, 0)

    for event, what in events:
        if event == "want":
            wanted = what
        elif event == "kill":
            driver.kill(what)
        elif event == "forget":
            known = {}
        else:
            now += what
        tick()
    for _ in range(60):
        now += 2.0
        tick()
    assert {i: a.spec.digest for i, a in driver.alive.items()} == {s.id: s.digest for s in wanted}
    assert {i: r.state for i, r in known.items()} == {s.id: ReplicaState.READY for s in wanted}
    settled = len(driver.started), len(driver.stopped)
    tick()
    assert (len(driver.started), len(driver.stopped)) == settled
