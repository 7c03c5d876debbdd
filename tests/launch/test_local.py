"""Replicas as real processes, judged by a scan of /proc that is not the driver's."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from launch_processes import ENGINE, bearing, eventually, toy

from polyfleet.errors import LaunchError
from polyfleet.launch import ports, processes
from polyfleet.launch.driver import StillThereError
from polyfleet.launch.local import LocalDriver, home_hash
from polyfleet.launch.watch import fetch
from polyfleet.terms.fleet import Replica, ReplicaState


def running(driver, spec):
    made = driver.list()[spec.id]
    where = {"pid": made.pid, "process_started": made.process_started, "url": made.url}
    return Replica(spec=spec, state=ReplicaState.READY, **where)


def answers(url):
    try:
        return fetch(url, "/health", 1.0) is not None
    except OSError:
        return False


def test_a_started_replica_is_listed_as_it_was_started_answers_and_ends(home, driver):
    spec = toy(usd_per_hour=0.5)
    made = driver.start(spec)
    found = driver.list()[spec.id]
    assert (found.spec, found.pid, found.url) == (spec, made.pid, made.url)
    assert found.process_started == made.process_started == processes.start_time(made.pid)
    assert list(bearing(home_hash(home)).values()) == [f"{home_hash(home)}/chat-0"]
    eventually(lambda: answers(made.url))
    assert "listening" in list(driver.logs("chat-0"))
    driver.stop(running(driver, spec), 5.0)
    assert bearing(home_hash(home)) == {}
    assert driver.list() == {}


def test_another_driver_finds_it_and_cannot_start_it_twice(home, driver):
    spec = toy()
    made = driver.start(spec)
    second = LocalDriver(home)
    assert second.list()[spec.id].pid == made.pid
    with pytest.raises(StillThereError):
        second.start(spec)
    assert list(bearing(home_hash(home))) == [made.pid]


def test_a_replica_cannot_be_started_twice_even_while_its_process_is_not_yet_to_be_seen(home, driver):
    """The lock is handed to the process before it bears its mark: held by anyone, it forbids a second start."""
    import fcntl

    (home / "run").mkdir()
    with (home / "run" / "chat-0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StillThereError):
            driver.start(toy())
    assert bearing(home_hash(home)) == {}


def test_ids_that_begin_alike_are_not_taken_for_one_another(home, driver):
    for name in ("chat-1", "chat-10"):
        driver.start(toy(name))
    driver.stop(running(driver, toy("chat-1")), 5.0)
    assert list(bearing(home_hash(home)).values()) == [f"{home_hash(home)}/chat-10"]


@pytest.mark.parametrize("options", [("--deaf",), ("--child",)])
def test_what_does_not_end_when_asked_is_ended_with_its_children(home, driver, options):
    spec = toy("chat-0", *options)
    made = driver.start(spec)
    eventually(lambda: answers(made.url))
    driver.stop(running(driver, spec), 0.2)
    assert bearing(home_hash(home)) == {}


def test_a_frozen_replica_ends_too(home, driver):
    spec = toy()
    made = driver.start(spec)
    os.kill(made.pid, signal.SIGSTOP)
    driver.stop(running(driver, spec), 5.0)
    assert bearing(home_hash(home)) == {}


def test_children_of_a_killed_replica_are_gone_before_it_starts_anew(home, driver):
    spec = toy("chat-0", "--child")
    first = driver.start(spec)
    eventually(lambda: len(bearing(home_hash(home))) == 2)
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: driver.list() == {})
    left = set(bearing(home_hash(home)))
    assert len(left) == 1
    second = driver.start(spec)
    assert left & set(bearing(home_hash(home))) == set()
    assert driver.list()[spec.id].pid == second.pid


def test_a_replica_that_dies_leaves_its_own_words(driver):
    driver.start(toy("chat-0", "--die", "weights are corrupt"))
    eventually(lambda: "weights are corrupt" in list(driver.logs("chat-0")))
    eventually(lambda: driver.list() == {})


def test_a_command_that_does_not_exist_is_one_line(driver):
    with pytest.raises(LaunchError, match="no-such-engine cannot be started: No such file"):
        driver.start(toy(command=("no-such-engine", "{port}")))


def test_a_port_that_is_taken_is_told_and_nothing_starts(home, driver):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} is taken"):
            driver.start(toy(port=port))
    assert bearing(home_hash(home)) == {}


def test_a_reserved_port_is_nobody_elses_while_it_is_held():
    """Sixty ports held at once are sixty different ones, and none of them is given out by the system meanwhile."""
    held = [ports.reserve() for _ in range(60)]
    try:
        reserved = {h.getsockname()[1] for h in held}
        assert len(reserved) == 60
        assert reserved.isdisjoint({ports.free_port() for _ in range(200)})
        with pytest.raises(LaunchError):
            ports.require_free(next(iter(reserved)))
    finally:
        for each in held:
            each.close()


def test_the_state_password_is_not_handed_to_engines(driver, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    monkeypatch.setenv("POLYFLEET_STATE", "postgresql://u:s3cret@h/d")
    made = driver.start(toy())
    assert b"s3cret" not in Path(f"/proc/{made.pid}/environ").read_bytes()


def test_logs_can_be_followed_from_the_last_lines(driver):
    driver.start(toy("chat-0", "--die", "first"))
    eventually(lambda: "first" in list(driver.logs("chat-0")))
    followed = driver.logs("chat-0", last=1, follow=True)
    assert next(followed) == "first"
    with driver.log_path("chat-0").open("a") as log:
        log.write("second\n")
    assert next(followed) == "second"
    followed.close()
    with pytest.raises(LaunchError, match="has no log"):
        next(driver.logs("nobody"))


def test_a_process_killed_while_it_starts_replicas_leaves_none_that_is_not_found(home):
    """Kills the starting process at moments spread over its start; whatever it left is found by mark, and is one."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from launch_processes import toy\n"
        "from pathlib import Path; from polyfleet.launch.local import LocalDriver\n"
        "driver = LocalDriver(Path(sys.argv[1])); print('go', flush=True)\n"
        "for n in range(3): driver.start(toy(f'chat-{n}'))\n"
        "print('done', flush=True)\n"
    )
    arguments = [sys.executable, "-c", code, str(home), str(ENGINE.parent)]
    left = []
    for moment in range(6):
        starter = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        starter.stdout.readline()
        try:
            starter.wait(0.004 * moment)
        except subprocess.TimeoutExpired:
            starter.kill()
        starter.wait()
        starter.stdout.close()
        driver = LocalDriver(home)
        for n in range(3):
            try:
                driver.start(toy(f"chat-{n}"))
            except StillThereError:
                eventually(lambda n=n, driver=driver: f"chat-{n}" in driver.list())
        left.append(sorted(bearing(home_hash(home)).values()))
        for n in range(3):
            driver.stop(running(driver, toy(f"chat-{n}")), 5.0)
    assert left == [[f"{home_hash(home)}/chat-{n}" for n in range(3)]] * 6
    assert bearing(home_hash(home)) == {}
