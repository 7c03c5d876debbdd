"""One control plane for all proofs; a namespace, a user with the Role alone and a home for each."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from lightkube import Client, KubeConfig, codecs
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.resources.rbac_authorization_v1 import RoleBinding
from servers import Plane, running

from polyfleet.launch.local import home_hash
from polyfleet.launch.processes import end_all
from polyfleet.launch.weights import find_weights

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("POLYFLEET_RIG", HERE.parents[1] / "build" / "kubernetes"))
_NUMBERS = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Watches of a closed driver end with the server's next word, after the test that opened them."""
    for kind in ("PytestUnraisableExceptionWarning", "PytestUnhandledThreadExceptionWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::pytest.{kind}")


def wait_for(met: Callable[[], object], timeout_s: float = 60.0, what: str = "it did not come to be") -> float:
    """Seconds until it is so."""
    begun = time.monotonic()
    while not met():
        assert time.monotonic() - begun < timeout_s, what
        time.sleep(0.01)
    return time.monotonic() - begun


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    if not (FOLDER / "bin" / "kube-scheduler").exists():
        pytest.exit(f"no servers in {FOLDER / 'bin'}: run rigs/kubernetes/build.sh {FOLDER}", 2)
    folder = tmp_path_factory.mktemp("plane") / "run"
    with running(folder, FOLDER / "bin") as made, _kubelet(made):
        yield made


@contextlib.contextmanager
def _kubelet(plane: Plane) -> Iterator[None]:
    log = plane.folder / "kubelet.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, HERE / "kubelet.py", plane.folder], stdout=out, stderr=out)
    try:
        wait_for(lambda: b"ready" in log.read_bytes() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def admin(plane: Plane) -> Iterator[Client]:
    client = Client(KubeConfig.from_file(plane.folder / "admin.yaml"), field_manager="rig")
    yield client
    client.close()


@pytest.fixture
def namespaces(plane: Plane, admin: Client) -> tuple[str, str]:
    """Two namespaces, in which `ann` has the Role. Both are contexts in `ann.yaml`; `bob.yaml` has no right at all."""
    number = next(_NUMBERS)
    made = (f"east-{number}", f"west-{number}")
    for name in made:
        admin.apply(Namespace.from_dict({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        role = yaml.safe_load((HERE / "role.yaml").read_text())
        role["metadata"]["namespace"] = name
        admin.apply(codecs.from_dict(role))
        subject = {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"kind": "Role", "name": "polyfleet", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": reference}
        binding |= {"metadata": {"name": "polyfleet", "namespace": name}, "subjects": [subject]}
        admin.apply(RoleBinding.from_dict(binding))
    for user in ("ann", "bob"):
        plane.kubeconfig(user, f"{user}-token", made)
    return made


@pytest.fixture
def home(tmp_path: Path, namespaces: tuple[str, str], admin: Client) -> Iterator[Path]:
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    end_all(f"{home_hash(folder)}/", 1.0)
    for name in namespaces:
        admin.delete(Namespace, name)
    wait_for(lambda: not [p for n in namespaces for p in admin.list(Pod, namespace=n)])


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return find_weights("polyfleet/tiny", tmp_path_factory.mktemp("weights"))


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client
