from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes_toys import objects

from polyfleet.launch.kubernetes.driver import KubernetesDriver
from polyfleet.launch.kubernetes.fake import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def driver(cluster: FakeCluster) -> Iterator[KubernetesDriver]:
    made = KubernetesDriver(cluster, "fleet-a", objects)
    yield made
    made.close()
    cluster.cut()
