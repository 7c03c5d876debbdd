"""What a manifest may hold, and what the driver makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_toys import budget, group, objects, replica, replica_spec, wait_for

from polyfleet.errors import LaunchError
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.kubernetes.fake import FakeCluster
from polyfleet.launch.kubernetes.objects import objects_of, parted


def with_manifest(*bodies: Any, replica_id: str = "chat-0"):
    return replica_spec(replica_id, manifest=json.dumps(bodies))


DEPLOYMENT = dict(objects(replica_spec())[0])


@pytest.fixture
def plain(cluster: FakeCluster) -> Iterator[KubernetesDriver]:
    """A driver that is told nothing but the replicas."""
    made = KubernetesDriver(cluster, "fleet-a")
    yield made
    made.close()
    cluster.cut()


def test_what_a_replica_is_comes_from_its_manifest(plain: KubernetesDriver, cluster: FakeCluster) -> None:
    spec = with_manifest(DEPLOYMENT)
    plain.check([spec])
    plain.start(spec)
    assert cluster.objects["Deployment", "chat-0"]["spec"]["template"]["spec"] == DEPLOYMENT["spec"]["template"]["spec"]
    assert plain.list()["chat-0"].spec == spec


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ("", "its manifest is no JSON"),
        ("{}", "no JSON list of Kubernetes objects"),
        ("[7]", "no JSON list of Kubernetes objects"),
        ("[]", "must hold one Deployment or LeaderWorkerSet of its name"),
        (json.dumps([DEPLOYMENT, DEPLOYMENT]), "must hold one Deployment or LeaderWorkerSet of its name"),
        (json.dumps([{**DEPLOYMENT, "metadata": {"name": "other"}}]), "must hold one Deployment"),
        (json.dumps([{**DEPLOYMENT, "metadata": {}}]), "a apps/v1 Deployment has no name"),
        (json.dumps([{**DEPLOYMENT, "apiVersion": "apps/v1beta1"}]), "a apps/v1beta1 Deployment cannot be applied"),
        (json.dumps([DEPLOYMENT, {"apiVersion": "v1", "kind": "Secret"}]), "a v1 Secret cannot be applied here"),
    ],
)
def test_a_manifest_that_is_none_is_told_and_nothing_is_made(
    manifest: str, told: str, plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    for act in (plain.start, lambda spec: plain.check([spec])):
        with pytest.raises(LaunchError, match=told) as refused:
            act(replica_spec(manifest=manifest))
        assert str(refused.value).startswith("chat-0: ")
    assert cluster.objects == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "name", "spec"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(st.just(DEPLOYMENT) | st.just(budget("line")) | JSON, max_size=3) | JSON)
def test_whatever_a_manifest_says_it_is_taken_or_refused_in_one_line(document: Any) -> None:
    told = ""
    try:
        own, shared = parted(objects_of(replica_spec(manifest=json.dumps(document))), "chat-0")
        assert [own, *shared] == sorted(document, key=lambda body: body["kind"])
    except LaunchError as error:
        told = str(error)
        is_sound = isinstance(document, list) and document.count(DEPLOYMENT) == 1
        assert not is_sound or len(document) > 1 + document.count(budget("line")), told
    assert "\n" not in told


def test_what_replicas_share_is_made_once_and_ended_after_the_last_of_them(
    plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    specs = [with_manifest(objects(replica_spec(name))[0], budget("line"), replica_id=name) for name in ("a", "b")]
    for spec in specs:
        plain.start(spec)
        plain.tidy()
    assert [call for call in cluster.calls if "Budget" in call] == ["apply PodDisruptionBudget line"]
    plain.stop(replica(specs[0]), 1)
    plain.tidy()
    assert ("PodDisruptionBudget", "line") in cluster.objects
    plain.stop(replica(specs[1]), 1)
    wait_for(lambda: plain.tidy() is None and not cluster.objects)


def test_what_replicas_shared_and_a_keeper_that_died_left_is_ended_by_its_heir(
    plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    spec = with_manifest(DEPLOYMENT, budget("line"))
    plain.start(spec)
    cluster.apply(
        {**budget("old"), "metadata": cluster.objects["PodDisruptionBudget", "line"]["metadata"] | {"name": "old"}}
    )
    cluster.apply(budget("theirs"))
    heir = KubernetesDriver(cluster, "fleet-a")
    assert set(heir.list()) == {"chat-0"}
    heir.tidy()
    assert {name for kind, name in cluster.objects if kind == "PodDisruptionBudget"} == {"line", "theirs"}
    heir.close()


def test_a_shared_object_that_somebody_else_made_is_left_alone(plain: KubernetesDriver, cluster: FakeCluster) -> None:
    cluster.apply(budget("line"))
    for act in (plain.start, lambda spec: plain.check([spec])):
        with pytest.raises(LaunchError, match="PodDisruptionBudget line that is not polyfleet's"):
            act(with_manifest(DEPLOYMENT, budget("line")))
    assert plain.list() == {}


def test_a_shared_object_that_changes_is_changed_with_the_first_replica_that_wants_it(
    plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    for number, name in enumerate(("a", "b"), 1):
        spec = with_manifest(objects(replica_spec(name))[0], budget("line", number), replica_id=name)
        plain.start(spec)
        plain.tidy()
        assert cluster.objects["PodDisruptionBudget", "line"]["spec"]["maxUnavailable"] == number


def test_a_replica_on_several_nodes_answers_at_its_leader_and_goes_whole(
    plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    spec = with_manifest(group("chat-0", 3))
    plain.start(spec)
    assert len(cluster.pods_of("chat-0")) == 3
    cluster.ready("chat-0", "10.0.0.1")
    wait_for(lambda: plain.list()["chat-0"].url == "http://10.0.0.1:8000")
    worker = cluster.pods_of("chat-0")[-1]
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T10:00:00Z"}]
    cluster.objects["Pod", worker["metadata"]["name"]]["status"] = {"podIP": "10.0.0.9", "conditions": ready}
    heir = KubernetesDriver(cluster, "fleet-a")
    assert heir.list()["chat-0"].url == "http://10.0.0.1:8000", "a worker serves nothing"
    heir.close()
    plain.stop(replica(spec), 1)
    assert plain.list() == {}
    assert not [kind for kind, _ in cluster.objects if kind != "ConfigMap"]


def test_a_worker_that_finds_no_node_holds_the_replica_up(plain: KubernetesDriver, cluster: FakeCluster) -> None:
    plain.start(with_manifest(group("chat-0", 2)))
    worker = cluster.pods_of("chat-0")[-1]
    words = "0/7 nodes are available: 7 Insufficient nvidia.com/gpu."
    short = {"conditions": [{"type": "PodScheduled", "status": "False", "message": words}]}
    cluster.objects["Pod", worker["metadata"]["name"]]["status"] = short
    heir = KubernetesDriver(cluster, "fleet-a")
    heir.list()
    assert heir.troubles() == {"chat-0": f"no node has 8 x nvidia.com/gpu free: {words}"}
    heir.close()


def test_a_cluster_without_leader_worker_sets_runs_deployments_and_says_what_it_lacks(
    plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    cluster.unknown |= {"LeaderWorkerSet", "PodDisruptionBudget"}
    plain.start(with_manifest(DEPLOYMENT))
    assert set(plain.list()) == {"chat-0"}
    plain.tidy()
    with pytest.raises(LaunchError, match=r"no such kind of object: .*LeaderWorkerSet is installed apart") as refused:
        plain.check([with_manifest(group("chat-1", 2), replica_id="chat-1")])
    assert not refused.value.can_retry


def test_leader_worker_sets_whose_definition_is_away_for_a_moment_are_not_taken_for_dead(
    plain: KubernetesDriver, cluster: FakeCluster
) -> None:
    plain.start(with_manifest(group("chat-0", 2)))
    cluster.unknown.add("LeaderWorkerSet")
    cluster.cut(forget=True)
    wait_for(lambda: plain.is_away)
    assert set(plain.list()) == {"chat-0"}
