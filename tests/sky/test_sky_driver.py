"""The driver on SkyPilot in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sky_toys import FLEET, offer, replica, replica_spec, wait_for

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import StillThereError
from polyfleet.launch.sky.driver import SkyDriver
from polyfleet.launch.sky.fake import FakeSky
from polyfleet.launch.sky.names import job_of
from polyfleet.launch.sky.refusals import Refusal

SPEC = replica_spec()
CLUSTER = f"pf-{FLEET}-chat-0"
Make = Callable[[], SkyDriver]
_NO_CAPACITY = "An error occurred (InsufficientInstanceCapacity): we do not have sufficient capacity"
_NO_QUOTA = "An error occurred (VcpuLimitExceeded) when calling the RunInstances operation"


def comes(driver: SkyDriver, *ids: str) -> None:
    wait_for(lambda: all(i in driver.list() and driver.list()[i].url for i in ids))


def test_start_returns_at_once_and_the_replica_gets_its_address_once_its_machine_is_there(
    driver: SkyDriver, sky: FakeSky
) -> None:
    sky.hold.clear()
    started = driver.start(SPEC)
    found = driver.list()[SPEC.id]
    assert (found.spec, found.pid, found.url) == (SPEC, started.pid, "")
    wait_for(lambda: "asking for aws:us-east-1:m6i.large" in driver.list()[SPEC.id].trouble)
    sky.hold.set()
    comes(driver, SPEC.id)
    assert driver.list()[SPEC.id].url == "http://127.0.0.1:1"
    assert sky.live() == {CLUSTER: [job_of(SPEC)]}
    assert sky.secrets == ["VLLM_API_KEY"]


def test_a_replica_is_never_started_beside_itself(driver: SkyDriver, sky: FakeSky) -> None:
    sky.hold.clear()
    driver.start(SPEC)
    with pytest.raises(StillThereError):
        driver.start(SPEC)
    sky.hold.set()
    comes(driver, SPEC.id)
    with pytest.raises(StillThereError):
        driver.start(SPEC)
    assert len(sky.launches()) == 1


def test_the_next_keeper_finds_what_runs_under_the_same_number(make: Make, sky: FakeSky) -> None:
    first = make()
    first.start(SPEC)
    comes(first, SPEC.id)
    before = first.list()[SPEC.id]
    first.close()
    after = make().list()[SPEC.id]
    assert (after.spec, after.pid, after.process_started) == (SPEC, before.pid, before.process_started)
    assert after.url == before.url
    assert len(sky.launches()) == 1


def test_the_next_keeper_waits_for_the_launch_under_way_and_starts_no_second(make: Make, sky: FakeSky) -> None:
    sky.hold.clear()
    first = make()
    first.start(SPEC)
    wait_for(sky.launches)
    first.close()
    second = make()
    wait_for(lambda: SPEC.id in second.list())
    with pytest.raises(StillThereError):
        second.start(SPEC)
    sky.hold.set()
    comes(second, SPEC.id)
    assert sky.live() == {CLUSTER: [job_of(SPEC)]}
    assert len(sky.launches()) == 1


def test_a_machine_that_is_up_without_its_job_is_taken_over(make: Make, sky: FakeSky) -> None:
    sky.lose_job = True
    first = make()
    first.start(SPEC)
    comes(first, SPEC.id)
    assert sky.live() == {CLUSTER: [job_of(SPEC)]}
    assert sky.calls.count("down") == 0


def test_a_machine_whose_note_is_lost_is_known_as_something_that_nobody_wants(
    make: Make, sky: FakeSky, tmp_path: Path
) -> None:
    first = make()
    first.start(SPEC)
    comes(first, SPEC.id)
    first.close()
    for path in (tmp_path / "run" / "sky" / CLUSTER).iterdir():
        path.unlink()
    second = make()
    found = second.list()[SPEC.id]
    assert found.spec.digest != SPEC.digest
    second.stop(replica(found.spec), 1.0)
    assert (second.list(), sky.clusters) == ({}, {})


def test_a_refused_offer_is_a_fact_and_the_next_is_taken(driver: SkyDriver, sky: FakeSky) -> None:
    sky.refused = {"m6i.large": _NO_CAPACITY}
    spec = replica_spec(offers=(offer(), offer("m6i.2xlarge")))
    driver.start(spec)
    comes(driver, spec.id)
    assert sky.launches() == [f"{CLUSTER} m6i.large", f"{CLUSTER} m6i.2xlarge"]
    (fact,) = driver.facts()
    assert (fact.kind, fact.offer) == (Refusal.CAPACITY, offer().offer)
    assert "InsufficientInstanceCapacity" in fact.words
    other = replica_spec("chat-1", offers=spec.offers)
    driver.start(other)
    comes(driver, other.id)
    assert sky.launches()[2:] == [f"pf-{FLEET}-chat-1 m6i.2xlarge"], "what was refused a moment ago comes last"


def test_where_nothing_is_free_it_goes_on_asking_and_says_so(driver: SkyDriver, sky: FakeSky) -> None:
    sky.refused = {"m6i.large": _NO_CAPACITY}
    driver.start(SPEC)
    wait_for(lambda: len(sky.launches()) >= 3)
    wait_for(lambda: "capacity" in driver.list()[SPEC.id].trouble)
    sky.refused = {}
    comes(driver, SPEC.id)


def test_what_waiting_does_not_cure_is_given_up_with_the_reason_in_its_log(driver: SkyDriver, sky: FakeSky) -> None:
    sky.refused = {"m6i.large": _NO_QUOTA}
    driver.start(SPEC)
    wait_for(lambda: SPEC.id not in driver.list())
    lines = list(driver.logs(SPEC.id))
    assert lines[0].startswith("polyfleet: starting chat-0")
    assert "quota: An error occurred (VcpuLimitExceeded)" in lines[-1]
    assert sky.clusters == {}


def test_a_changed_price_is_said_and_the_machine_kept(driver: SkyDriver, sky: FakeSky) -> None:
    sky.usd_per_hour = 3.0
    driver.start(SPEC)
    comes(driver, SPEC.id)
    (fact,) = driver.facts()
    assert fact.kind is Refusal.PRICE
    assert "$3 an hour by SkyPilot's prices, $2 by the plan's" in fact.line


def test_a_reclaimed_machine_is_gone_and_the_replica_can_be_started_anew(driver: SkyDriver, sky: FakeSky) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    before = driver.list()[SPEC.id]
    sky.reclaim(CLUSTER)
    wait_for(lambda: SPEC.id not in driver.list())
    wait_for(lambda: "reclaimed" in list(driver.logs(SPEC.id))[-1])
    driver.start(SPEC)
    comes(driver, SPEC.id)
    assert driver.list()[SPEC.id].pid != before.pid


def test_a_job_that_ends_leaves_its_last_words_and_its_machine_for_the_next_try(
    driver: SkyDriver, sky: FakeSky
) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    sky.end_job(CLUSTER)
    wait_for(lambda: SPEC.id not in driver.list())
    lines = list(driver.logs(SPEC.id))
    assert lines[-2:] == [f"line of {job_of(SPEC)}", "polyfleet: its job ended: FAILED"]
    driver.start(SPEC)
    comes(driver, SPEC.id)
    assert len(sky.clusters) == 1
    assert sky.calls.count("down") == 0


def test_a_machine_on_which_nothing_runs_is_listed_for_ending_and_kept_while_a_restart_may_come(
    driver: SkyDriver, sky: FakeSky
) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    sky.end_job(CLUSTER)
    wait_for(lambda: "idle-chat-0" in driver.list())
    ending = threading.Thread(target=driver.stop, args=(replica(driver.list()["idle-chat-0"].spec), 1.0))
    ending.start()
    driver.start(SPEC)
    ending.join(10)
    comes(driver, SPEC.id)
    assert sky.calls.count("down") == 0
    sky.end_job(CLUSTER)
    wait_for(lambda: "idle-chat-0" in driver.list())
    driver.stop(replica(driver.list()["idle-chat-0"].spec), 1.0)
    assert (driver.list(), sky.clusters) == ({}, {})


def test_stop_returns_once_the_cloud_has_nothing_left(driver: SkyDriver, sky: FakeSky) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    sky.stays = 2
    driver.stop(replica(SPEC), 1.0)
    assert (driver.list(), sky.clusters) == ({}, {})
    assert sky.calls.count("down") == 3


def test_what_does_not_go_is_said_and_still_listed(driver: SkyDriver, sky: FakeSky) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    sky.stays = 99
    with pytest.raises(LaunchError, match=f"{CLUSTER} does not go"):
        driver.stop(replica(SPEC), 1.0)
    assert SPEC.id in driver.list()
    sky.stays = 0


def test_a_replica_is_stopped_in_the_middle_of_its_launch(driver: SkyDriver, sky: FakeSky) -> None:
    sky.hold.clear()
    driver.start(SPEC)
    wait_for(sky.launches)
    stopping = threading.Thread(target=driver.stop, args=(replica(SPEC), 1.0))
    stopping.start()
    wait_for(lambda: "down" in sky.calls)
    sky.hold.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert (driver.list(), sky.clusters) == ({}, {})
    assert driver.facts() == []


def test_two_replicas_share_a_machine_and_the_last_one_takes_it_down(driver: SkyDriver, sky: FakeSky) -> None:
    specs = [replica_spec(f"chat-{n}", port=n + 1, machine="big-0") for n in range(2)]
    for spec in specs:
        driver.start(spec)
    comes(driver, "chat-0", "chat-1")
    cluster = f"pf-{FLEET}-big-0"
    assert {name: sorted(jobs) for name, jobs in sky.live().items()} == {cluster: sorted(map(job_of, specs))}
    assert sky.launches().count(f"{cluster} m6i.large") == 1
    driver.stop(replica(specs[0]), 1.0)
    assert list(driver.list()) == ["chat-1"]
    assert sky.live() == {cluster: [job_of(specs[1])]}
    driver.stop(replica(specs[1]), 1.0)
    assert (driver.list(), sky.clusters) == ({}, {})


def test_while_skypilot_is_away_what_ran_is_taken_to_run(driver: SkyDriver, sky: FakeSky) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    sky.away = True
    wait_for(lambda: driver._sight.error is not None)
    assert driver.list()[SPEC.id].url
    sky.away = False


def test_before_the_first_look_nothing_is_said_to_be_gone(make: Make, sky: FakeSky) -> None:
    sky.away = True
    driver = make()
    with pytest.raises(LaunchError) as told:
        driver.list()
    assert told.value.can_retry
    with pytest.raises(LaunchError) as told:
        driver.start(SPEC)
    assert told.value.can_retry
    sky.away = False


def test_a_job_that_is_there_twice_is_ended_once(driver: SkyDriver, sky: FakeSky) -> None:
    driver.start(SPEC)
    comes(driver, SPEC.id)
    before = driver.list()[SPEC.id]
    sky("launch", 1.0, cluster=CLUSTER, task={"name": job_of(SPEC), "run": "serve"}, resources={}, secrets=[])
    wait_for(lambda: sky.calls.count("cancel") >= 1)
    wait_for(lambda: sky.live() == {CLUSTER: [job_of(SPEC)]})
    assert driver.list()[SPEC.id].pid == before.pid


def test_the_log_of_what_runs_is_ours_and_then_its_jobs(make: Make, sky: FakeSky, tmp_path: Path) -> None:
    driver = make()
    driver.start(SPEC)
    comes(driver, SPEC.id)
    lines = list(driver.logs(SPEC.id))
    assert lines[0].startswith("polyfleet: starting chat-0")
    assert lines[-1] == f"line of {job_of(SPEC)}"
    onlooker = SkyDriver(tmp_path, FLEET, sky)  # as `polyfleet logs` has it: it has not looked before
    assert list(onlooker.logs(SPEC.id, last=1)) == lines[-1:]
    with pytest.raises(LaunchError, match="chat-9 has no log"):
        list(onlooker.logs("chat-9"))
    onlooker.close()
