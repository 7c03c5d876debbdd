"""The driver on a namespace in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from kubernetes_toys import objects, replica, replica_spec, wait_for

from polyfleet.errors import LaunchError
from polyfleet.launch.driver import StillThereError
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.kubernetes.fake import FakeCluster
from polyfleet.launch.kubernetes.refusals import AwayError

SPEC = replica_spec()


@pytest.fixture
def other(cluster: FakeCluster) -> Iterator[KubernetesDriver]:
    made = KubernetesDriver(cluster, "fleet-b", objects)
    yield made
    made.close()


def test_a_started_replica_is_listed_at_once_as_what_it_was_started_as(driver: KubernetesDriver) -> None:
    started = driver.start(SPEC)
    found = driver.list()
    assert set(found) == {SPEC.id}
    assert found[SPEC.id].spec == SPEC
    assert (found[SPEC.id].pid, found[SPEC.id].url) == (started.pid, "")


def test_the_address_follows_the_pod_that_is_ready(driver: KubernetesDriver, cluster: FakeCluster) -> None:
    driver.start(SPEC)
    cluster.ready(SPEC.id, "10.1.2.3")
    wait_for(lambda: driver.list()[SPEC.id].url == "http://10.1.2.3:8000")
    before = driver.list()[SPEC.id]
    cluster.ready(SPEC.id, "10.1.2.3", is_ready=False)
    wait_for(lambda: driver.list()[SPEC.id].url == "")
    assert driver.list()[SPEC.id].pid != before.pid, "an address that is gone must not be taken for the one before"
    cluster.ready(SPEC.id, "fd00::7")
    wait_for(lambda: driver.list()[SPEC.id].url == "http://[fd00::7]:8000")


def test_a_pod_that_is_deleted_takes_its_address_with_it_and_its_successor_brings_another(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    cluster.ready(SPEC.id, "10.0.0.1")
    wait_for(lambda: driver.list()[SPEC.id].url != "")
    first = driver.list()[SPEC.id]
    cluster.delete("Pod", cluster.pods_of(SPEC.id)[0]["metadata"]["name"])
    wait_for(lambda: driver.list()[SPEC.id].url == "")
    cluster.ready(SPEC.id, "10.0.0.2")
    wait_for(lambda: driver.list()[SPEC.id].url == "http://10.0.0.2:8000")
    assert driver.list()[SPEC.id].pid != first.pid


def test_another_driver_of_the_same_home_finds_what_runs_and_starts_nothing_beside_it(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    heir = KubernetesDriver(cluster, "fleet-a", objects)
    assert heir.list()[SPEC.id].spec == SPEC
    with pytest.raises(StillThereError):
        heir.start(SPEC)
    assert len(cluster.pods_of(SPEC.id)) == 1
    heir.close()


def test_stop_asks_for_the_grace_and_returns_once_nothing_is_left(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    cluster.slow_end = True
    stopping = threading.Thread(target=driver.stop, args=(replica(SPEC), 6.5))
    stopping.start()
    wait_for(lambda: any(call.endswith("within 7 s") for call in cluster.calls))
    assert stopping.is_alive()
    assert SPEC.id in driver.list(), "what is ending is there still"
    with pytest.raises(StillThereError):
        driver.start(SPEC)
    cluster.end_pods()
    stopping.join(10)
    assert not stopping.is_alive()
    assert driver.list() == {}
    assert not [kind for kind, _ in cluster.objects if kind != "ConfigMap"]


def test_the_namespace_is_let_go_once_nothing_is_left_and_not_before(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    wait_for(lambda: not cluster.away and ("ConfigMap", "polyfleet") in cluster.objects)
    driver.tidy()
    assert ("ConfigMap", "polyfleet") in cluster.objects
    driver.stop(replica(SPEC), 1)
    wait_for(lambda: driver.tidy() is None and not cluster.objects)


def test_of_two_fleets_one_has_the_namespace_and_the_other_is_told_by_whom(
    driver: KubernetesDriver, other: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    for act in (lambda: other.check([replica_spec("other-0")]), lambda: other.start(replica_spec("other-0"))):
        with pytest.raises(LaunchError, match=r"fake/default: .* holds the fleet of \S+@\S+ since .*kubectl"):
            act()
    assert [name for kind, name in cluster.objects if kind == "Deployment"] == [SPEC.id]
    driver.stop(replica(SPEC), 1)
    wait_for(lambda: driver.tidy() is None and not cluster.objects)
    other.start(replica_spec("other-0"))


def test_two_fleets_that_start_at_the_same_moment_do_not_both_get_the_namespace(cluster: FakeCluster) -> None:
    fleets = [KubernetesDriver(cluster, f"fleet-{n}", objects) for n in range(8)]
    together, told, lock = threading.Barrier(len(fleets)), [], threading.Lock()

    def start(number: int, fleet: KubernetesDriver) -> None:
        together.wait(10)
        try:
            fleet.start(replica_spec(f"r-{number}"))
        except LaunchError as error:
            with lock:
                told.append(str(error))

    threads = [threading.Thread(target=start, args=pair) for pair in enumerate(fleets)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(told) == len(fleets) - 1
    assert all("holds the fleet of" in line for line in told)
    assert len([name for kind, name in cluster.objects if kind == "Deployment"]) == 1
    for fleet in fleets:
        fleet.close()


def test_a_deployment_that_somebody_else_made_is_left_alone(driver: KubernetesDriver, cluster: FakeCluster) -> None:
    theirs = dict(objects(SPEC)[0])
    cluster.apply(theirs)
    for act in (lambda: driver.check([SPEC]), lambda: driver.start(SPEC)):
        with pytest.raises(LaunchError, match="Deployment chat-0 that is not polyfleet's"):
            act()
    assert driver.list() == {}


def test_check_changes_nothing_and_tells_the_first_refusal(driver: KubernetesDriver, cluster: FakeCluster) -> None:
    driver.check([SPEC, replica_spec("chat-1")])
    assert cluster.calls == []
    assert cluster.objects == {}
    cluster.refused["apply Deployment"] = (403, 'deployments.apps is forbidden: User "ann" cannot patch')
    with pytest.raises(LaunchError, match=r"no right to apply Deployment: .*User \"ann\"") as refused:
        driver.check([SPEC])
    assert not refused.value.can_retry


def test_while_the_api_server_is_away_all_stays_as_last_seen_and_nothing_is_started(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    cluster.ready(SPEC.id, "10.0.0.1")
    wait_for(lambda: driver.list()[SPEC.id].url != "")
    cluster.away = True
    cluster.cut()
    wait_for(lambda: driver.is_away)
    assert driver.list()[SPEC.id].url == "http://10.0.0.1:8000"
    with pytest.raises(AwayError) as away:
        driver.start(replica_spec("chat-1"))
    assert away.value.can_retry
    cluster.away = False
    wait_for(lambda: not driver.is_away)
    driver.start(replica_spec("chat-1"))
    assert set(driver.list()) == {SPEC.id, "chat-1"}


def test_what_happened_while_the_watch_was_away_is_seen_by_listing_anew(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    cluster.cut()
    cluster.ready(SPEC.id, "10.0.0.9")
    cluster.cut(forget=True)
    wait_for(lambda: driver.list()[SPEC.id].url == "http://10.0.0.9:8000")


def test_a_first_look_that_is_refused_is_told(driver: KubernetesDriver, cluster: FakeCluster) -> None:
    cluster.refused["list Pod"] = (403, 'pods is forbidden: User "ann" cannot list resource "pods"')
    with pytest.raises(LaunchError, match="no right to list Pod"):
        driver.list()


def test_a_start_that_died_half_way_is_finished_by_the_next(driver: KubernetesDriver, cluster: FakeCluster) -> None:
    cluster.refused["apply Deployment"] = (500, "etcdserver: request timed out")
    with pytest.raises(AwayError, match="answers 500"):
        driver.start(SPEC)
    assert driver.list() == {}
    cluster.refused.clear()
    driver.start(SPEC)
    assert len(cluster.pods_of(SPEC.id)) == 1
    assert [call for call in cluster.calls if call.startswith("create ConfigMap")] == ["create ConfigMap polyfleet"]


def test_logs_are_those_of_the_newest_pod_and_say_what_holds_it_up(
    driver: KubernetesDriver, cluster: FakeCluster
) -> None:
    driver.start(SPEC)
    cluster.ready(SPEC.id, "10.0.0.1")
    cluster.lines[cluster.pods_of(SPEC.id)[0]["metadata"]["name"]] = ["one", "two", "three"]
    wait_for(lambda: driver.list()[SPEC.id].url != "")
    assert list(driver.logs(SPEC.id, last=2)) == ["two", "three"]
    words = "0/7 nodes are available: 7 Insufficient nvidia.com/gpu."
    short = {"type": "PodScheduled", "status": "False", "message": words}
    cluster.tell(SPEC.id, {"conditions": [short]})
    wait_for(lambda: bool(driver.troubles()))
    assert list(driver.logs(SPEC.id)) == [f"polyfleet: no node has 8 x nvidia.com/gpu free: {words}"]
    with pytest.raises(LaunchError, match="no log"):
        list(driver.logs("chat-7"))


def test_labels_are_within_what_kubernetes_takes(driver: KubernetesDriver, cluster: FakeCluster) -> None:
    longest = replica_spec("a" * 40, served=("x" * 300,))
    driver.start(longest)
    made = cluster.objects["Deployment", longest.id]
    for labels in (made["metadata"]["labels"], made["spec"]["template"]["metadata"]["labels"]):
        assert {"polyfleet/fleet", "polyfleet/replica", "polyfleet/digest"} <= set(labels)
        assert all(len(value) <= 63 for value in labels.values())
    assert made["metadata"]["labels"]["polyfleet/digest"] == longest.digest
