"""What a real API server refuses, told in one line; and what it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from fleet import objects, replicas
from lightkube import Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod, ResourceQuota
from servers import Plane

from polyfleet.errors import InputError, LaunchError
from polyfleet.launch.kubernetes.cluster import connect
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.kubernetes.refusals import AwayError
from polyfleet.terms.fleet import Replica, ReplicaState


@pytest.fixture
def driver(home: Path, plane: Plane, namespaces: tuple[str, str]) -> Iterator[KubernetesDriver]:
    made = KubernetesDriver(connect(namespaces[0], kubeconfig=plane.folder / "ann.yaml"), home.name, objects)
    yield made
    made.close()


def test_no_kubeconfig_and_a_context_that_is_not_there(plane: Plane, namespaces: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=r"no usable kubeconfig: .*nowhere"):
        connect(kubeconfig=plane.folder / "nowhere.yaml")
    with pytest.raises(InputError, match=rf"no such context \(got 'north'\); there are: {', '.join(namespaces)}"):
        connect("north", kubeconfig=plane.folder / "ann.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no usable kubeconfig"),
        ("{", "no usable kubeconfig: while parsing a flow node expected the node content"),
        ("[1, 2]", "no usable kubeconfig"),
        ("apiVersion: v1", "no usable kubeconfig: there is no 'clusters'"),
        ("clusters: []\ncontexts: []", "no usable kubeconfig: No current context set"),
    ],
)
def test_a_kubeconfig_that_is_none_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(InputError, match=told) as refused:
        connect(kubeconfig=tmp_path / "config")
    assert "\n" not in str(refused.value)


def test_no_rights_no_namespace_and_no_such_user_are_told(
    plane: Plane, namespaces: tuple[str, str], weights: Path
) -> None:
    specs = replicas(1, weights, namespaces[0])
    nobody = plane.kubeconfig("carl", "carl-token", namespaces)
    for config, namespace, told in (
        (plane.folder / "bob.yaml", namespaces[0], f'{namespaces[0]}: no right to list .*User "bob" cannot list'),
        (plane.folder / "admin.yaml", "nowhere", "nowhere: there is no such namespace"),
        (nobody, namespaces[0], "does not know this user"),
    ):
        driver = KubernetesDriver(connect(None, namespace, config), "x", objects)
        with pytest.raises(LaunchError, match=told) as refused:
            driver.check(specs)
        assert "\n" not in str(refused.value)
        driver.close()


def test_check_asks_the_server_and_changes_nothing(
    driver: KubernetesDriver, namespaces: tuple[str, str], admin: Client, weights: Path, home: Path, plane: Plane
) -> None:
    specs = replicas(3, weights, namespaces[0])
    driver.check(specs)
    assert not list(admin.list(Deployment, namespace=namespaces[0]))

    def unmatched(spec):
        (body,) = objects(spec)
        return [{**body, "spec": {**body["spec"], "selector": {"matchLabels": {"app": "other"}}}}]

    wrong = KubernetesDriver(connect(namespaces[0], kubeconfig=plane.folder / "ann.yaml"), home.name, unmatched)
    with pytest.raises(LaunchError, match=r"selector.*does not match template"):
        wrong.check(specs)
    wrong.close()


def test_what_holds_replicas_up_is_told_in_one_line_each(
    driver: KubernetesDriver, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    east = namespaces[0]
    admin.apply(
        ResourceQuota.from_dict({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "chips", "namespace": east},
            "spec": {"hard": {"requests.amd.com/gpu": "8"}},
        })
    )  # fmt: skip
    wait_for(lambda: admin.get(ResourceQuota, "chips", namespace=east).status.hard or {})
    for spec in (
        *replicas(9, weights, east, workload="many"),  # two nodes of eight, two chips each
        *replicas(1, weights, east, workload="image", chip="cpu", offer="nowhere"),
        *replicas(1, weights, east, workload="crash", chip="cpu", context_tokens=17, command=("false",)),
        *replicas(2, weights, east, workload="quota", chip="MI300X"),
    ):
        driver.start(spec)
    wait_for(lambda: len(driver.troubles()) == 4, what=str(driver.troubles()))
    told = driver.troubles()
    (many,) = [line for name, line in told.items() if name.startswith("many-")]
    assert many.startswith("no node has 2 x nvidia.com/gpu free: 0/8 nodes are available")
    assert told["image-0"].startswith("its image nowhere.invalid/engine:1 cannot be had (ErrImagePull)")
    assert told["crash-0"].startswith("it ended ")
    (quota,) = [line for name, line in told.items() if name.startswith("quota-")]
    assert quota.startswith("the namespace's quota is used up: chips, requested: requests.amd.com/gpu=8")
    assert all("\n" not in line for line in told.values())
    found = driver.list()
    assert found["image-0"].trouble == told["image-0"]
    for alive in found.values():
        driver.stop(Replica(spec=alive.spec, state=ReplicaState.DRAINING), 1)
    driver.tidy()
    assert not list(admin.list(Pod, namespace=east))


def test_a_store_that_is_away_for_a_while_is_told_in_one_line_and_waited_for(
    driver: KubernetesDriver, namespaces: tuple[str, str], weights: Path, plane: Plane
) -> None:
    (spec,) = replicas(1, weights, namespaces[0])
    driver.check([spec])
    plane.stop("etcd")
    try:
        for act in (lambda: driver.check([spec]), lambda: driver.start(spec)):
            with pytest.raises(AwayError, match=rf"kubernetes .*/{namespaces[0]}: the API server ") as away:
                act()
            print(f"\n{away.value}")
            assert "\n" not in str(away.value)
    finally:
        plane.start("etcd")
    wait_for(lambda: not driver.is_away)
    driver.start(spec)
    wait_for(lambda: driver.list()[spec.id].url)
    assert set(driver.list()) == {spec.id}
    driver.stop(Replica(spec=spec, state=ReplicaState.DRAINING), 1)


def test_an_api_server_that_is_away_is_waited_for_and_what_is_there_stays(
    driver: KubernetesDriver, namespaces: tuple[str, str], weights: Path, plane: Plane
) -> None:
    first, second = replicas(2, weights, namespaces[0])
    driver.start(first)
    wait_for(lambda: driver.list()[first.id].url)
    plane.stop("apiserver")
    try:
        wait_for(lambda: driver.is_away)
        assert driver.list()[first.id].url
        with pytest.raises(AwayError, match="API server is away"):
            driver.start(second)
    finally:
        plane.start("apiserver")
    begun = time.monotonic()
    wait_for(lambda: not driver.is_away)
    print(f"\nwatching again {time.monotonic() - begun:.1f} s after the API server is back")
    driver.start(second)
    wait_for(lambda: driver.list()[second.id].url)
    assert set(driver.list()) == {first.id, second.id}
    assert list(driver.logs(second.id, last=1))
    for spec in (first, second):
        driver.stop(Replica(spec=spec, state=ReplicaState.DRAINING), 5)
