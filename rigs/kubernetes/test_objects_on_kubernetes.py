"""What spans nodes, what replicas share, and logs that are followed: on a real API server."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import HERE, wait_for
from fleet import objects, replicas
from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod, Service
from servers import Plane

from polyfleet.errors import LaunchError
from polyfleet.launch.kubernetes.cluster import connect
from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState

GROUP = create_namespaced_resource("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets")
TALKS = "import time\nfor n in range(1000): print('line', n, flush=True); time.sleep(0.5)"


@pytest.fixture
def driver(home: Path, plane: Plane, namespaces: tuple[str, str]) -> Iterator[KubernetesDriver]:
    """One that is told nothing but the replicas' manifests, by a user who has the Role alone."""
    made = KubernetesDriver(connect(namespaces[0], kubeconfig=plane.folder / "ann.yaml"), home.name)
    yield made
    made.close()


def with_manifest(spec: ReplicaSpec, bodies: Sequence[Any]) -> ReplicaSpec:
    return spec.model_copy(update={"manifest": json.dumps(bodies)})


def ended(driver: KubernetesDriver, spec: ReplicaSpec) -> float:
    begun = time.monotonic()
    driver.stop(Replica(spec=spec, state=ReplicaState.DRAINING), 2)
    return time.monotonic() - begun


def test_what_replicas_share_comes_with_the_first_and_goes_after_the_last(
    driver: KubernetesDriver, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    east = namespaces[0]
    port = {"name": "http", "port": 8000, "protocol": "TCP"}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat"},
        "spec": {"selector": {"polyfleet/workload": "chat"}, "ports": [port]},
    }  # fmt: skip
    specs = [with_manifest(spec, [*objects(spec), service]) for spec in replicas(2, weights, east)]
    admin.apply(Service.from_dict({**service, "metadata": {"name": "chat", "namespace": east}}))
    with pytest.raises(LaunchError, match="there is a Service chat that is not polyfleet's"):
        driver.check(specs)
    admin.delete(Service, "chat", namespace=east)
    driver.check(specs)
    assert not list(admin.list(Service, namespace=east))
    for spec in specs:
        driver.start(spec)
    wait_for(lambda: all(alive.url for alive in driver.list().values()))
    driver.tidy()
    assert [found.metadata.name for found in admin.list(Service, namespace=east)] == ["chat"]
    ended(driver, specs[0])
    driver.tidy()
    assert list(admin.list(Service, namespace=east))
    ended(driver, specs[1])
    driver.tidy()
    wait_for(lambda: not list(admin.list(Service, namespace=east)))
    assert not list(admin.list(Deployment, namespace=east))


def test_a_replica_that_spans_nodes_is_made_followed_and_ended(
    driver: KubernetesDriver, namespaces: tuple[str, str], admin: Client, weights: Path, home: Path, plane: Plane
) -> None:
    east, (plain, whole) = namespaces[0], replicas(2, weights, namespaces[0])
    (body,) = objects(whole)
    pod = body["spec"]["template"]
    group = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": whole.id},
        "spec": {
            "replicas": 1, "leaderWorkerTemplate": {"size": 2, "leaderTemplate": pod, "workerTemplate": pod},
        },
    }  # fmt: skip
    whole, plain = with_manifest(whole, [group]), with_manifest(plain, objects(plain))
    with pytest.raises(LaunchError, match=r"no such kind of object: .*LeaderWorkerSet is installed apart"):
        driver.check([whole])
    driver.check([plain])  # the others need none

    admin.apply(CustomResourceDefinition.from_dict(yaml.safe_load((HERE / "lws.yaml").read_text())))
    wait_for(lambda: _is_taken(driver, whole))
    driver.start(whole)
    made = admin.get(GROUP, whole.id, namespace=east)
    assert made.metadata.labels["polyfleet/replica"] == whole.id
    seen_s = wait_for(lambda: driver.list().get(whole.id))
    print(f"\na LeaderWorkerSet is listed after {seen_s:.2f} s, with {driver.list()[whole.id].trouble!r}")

    for name in ("leader", "worker"):  # as the controller would make them
        template = made["spec"]["leaderWorkerTemplate"][f"{name}Template"]
        owner = {"apiVersion": made.apiVersion, "kind": made.kind, "name": whole.id, "uid": made.metadata.uid}
        meta = {"name": f"{whole.id}-{name}", "namespace": east, "ownerReferences": [owner], **template["metadata"]}
        admin.create(Pod.from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}))
    wait_for(lambda: _ready(admin, east) == 2)
    leader = admin.get(Pod, f"{whole.id}-leader", namespace=east).status.podIP
    wait_for(lambda: driver.list()[whole.id].url == f"http://{leader}:8000")
    time.sleep(1)
    assert driver.list()[whole.id].url == f"http://{leader}:8000", "a worker serves nothing"

    heir = KubernetesDriver(connect(east, kubeconfig=plane.folder / "ann.yaml"), home.name)
    assert heir.list()[whole.id].spec == whole
    heir.close()
    print(f"ended after {ended(driver, whole):.1f} s")
    assert not list(admin.list(GROUP, namespace=east))
    assert not list(admin.list(Pod, namespace=east))
    assert driver.list() == {}


def test_a_log_is_followed_as_it_is_written_and_on_to_the_successor(
    driver: KubernetesDriver, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    (spec,) = replicas(1, weights, namespaces[0], chip="cpu", command=(sys.executable, "-c", TALKS))
    driver.start(with_manifest(spec, objects(spec)))
    wait_for(lambda: list(admin.list(Pod, namespace=namespaces[0])))
    (pod,) = admin.list(Pod, namespace=namespaces[0])
    wait_for(lambda: admin.get(Pod, pod.metadata.name, namespace=namespaces[0]).status.podIP)
    came: list[tuple[float, str]] = []
    following = threading.Thread(
        target=lambda: came.extend((time.monotonic(), line) for line in driver.logs(spec.id, follow=True)), daemon=True
    )
    following.start()
    wait_for(lambda: len(came) >= 6)
    assert [line for _, line in came[:6]] == [f"line {n}" for n in range(6)]
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(came[3:])]
    assert max(gaps) < 1.5, "lines come as they are written, not in heaps"
    admin.delete(Pod, pod.metadata.name, namespace=namespaces[0])
    wait_for(lambda: [line for _, line in came].count("line 3") == 2)
    ended(driver, spec)
    following.join(20)
    assert not following.is_alive(), "it ends with the replica"


def _is_taken(driver: KubernetesDriver, spec: ReplicaSpec) -> bool:
    try:
        driver.check([spec])
    except LaunchError:
        return False
    return True


def _ready(admin: Client, namespace: str) -> int:
    conditions = [c for pod in admin.list(Pod, namespace=namespace) for c in pod.status.conditions or ()]
    return sum(c.type == "Ready" and c.status == "True" for c in conditions)
