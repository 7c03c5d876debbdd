"""A Kubernetes control plane on loopback: etcd, API server, controllers and scheduler as processes of this machine.

    with running(FOLDER, BIN) as plane: ...       # in a test
    python rigs/kubernetes/servers.py FOLDER BIN  # by hand: until Ctrl-C

Kubeconfigs lie in FOLDER: `admin.yaml`, and whatever `Plane.kubeconfig` is asked for.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
ADMIN_TOKEN = "admin-token"
USERS = ("ann", "bob")
"""Users without any right of their own, each with the token `NAME-token`."""


@dataclass(frozen=True)
class Plane:
    """A control plane that runs. `processes` by name, so that a test can take one away."""

    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]]
    commands: Mapping[str, Sequence[str]]

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "certs" / "apiserver.crt"

    def kubeconfig(self, name: str, token: str, namespaces: Sequence[str] = ("default",)) -> Path:
        """A kubeconfig with one context by namespace, of that name; the first is the current one."""
        cluster = {"server": self.url, "certificate-authority": str(self.certificate)}
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": namespaces[0],
            "clusters": [{"name": "rig", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [
                {"name": n, "context": {"cluster": "rig", "user": name, "namespace": n}} for n in namespaces
            ],
        }  # fmt: skip
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(config, indent=1))
        return path

    def evict(self, namespace: str, pod: str) -> None:
        """As `kubectl drain` asks for it. The client knows a later version of this call than these servers."""
        body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        request = urllib.request.Request(
            f"{self.url}/api/v1/namespaces/{namespace}/pods/{pod}/eviction", json.dumps(body).encode(),
            {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"},
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=self.certificate)).close()

    def stop(self, name: str) -> None:
        """Take a server away."""
        self.processes[name].kill()
        self.processes[name].wait()

    def start(self, name: str) -> None:
        """Bring it back under the same address; returns once the API server is ready."""
        self.processes[name] = _start(self.folder, name, self.commands[name])
        _wait_until_ready(self, 120)


@contextlib.contextmanager
def running(folder: Path, bin_folder: Path, timeout_s: float = 120.0) -> Iterator[Plane]:
    """A control plane with an empty store, ready to be asked. Raises RuntimeError with a server's last words where it
    does not come up."""
    (folder / "certs").mkdir(parents=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    store, peers, api, controllers, scheduler = (_free_port() for _ in range(5))
    try:
        _make_keys(folder)
        admin = folder / "admin.yaml"
        commands = {
            "etcd": _etcd(folder, store, peers),
            "apiserver": _apiserver(folder, bin_folder, store, api),
            "controllers": _controllers(folder, bin_folder, admin, controllers),
            "scheduler": _scheduler(bin_folder, admin, scheduler),
        }
        plane = Plane(folder, api, processes, commands)
        for name in ("etcd", "apiserver"):
            processes[name] = _start(folder, name, commands[name])
        _wait_until_ready(plane, timeout_s)
        plane.kubeconfig("admin", ADMIN_TOKEN)
        for name in ("controllers", "scheduler"):
            processes[name] = _start(folder, name, commands[name])
        yield plane
    finally:
        for process in reversed(processes.values()):
            process.terminate()
        for process in processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
            process.wait()


def _start(folder: Path, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(["nice", "-n", "10", *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _make_keys(folder: Path) -> None:
    key = folder / "certs" / "accounts.key"
    for words in (["genrsa", "-out", str(key), "2048"], ["rsa", "-in", str(key), "-pubout", "-out", f"{key}.pub"]):
        subprocess.run([shutil.which("openssl") or "openssl", *words], check=True, capture_output=True)
    lines = [f"{ADMIN_TOKEN},admin,admin,system:masters", *(f"{user}-token,{user},{user}" for user in USERS)]
    (folder / "tokens.csv").write_text("".join(f"{line}\n" for line in lines))


def _etcd(folder: Path, port: int, peers: int) -> list[str]:
    here, there = f"http://{HOST}:{port}", f"http://{HOST}:{peers}"
    return [
        "etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync",
        "--listen-client-urls", here, "--advertise-client-urls", here,
        "--listen-peer-urls", there, "--initial-advertise-peer-urls", there, "--initial-cluster", f"default={there}",
    ]  # fmt: skip


def _apiserver(folder: Path, bin_folder: Path, store: int, port: int) -> list[str]:
    key, issuer = folder / "certs" / "accounts.key", "https://kubernetes.default.svc"
    return [
        str(bin_folder / "kube-apiserver"), f"--etcd-servers=http://{HOST}:{store}", f"--bind-address={HOST}",
        f"--secure-port={port}", "--insecure-port=0", f"--cert-dir={folder / 'certs'}",
        "--advertise-address=192.0.2.10", "--service-cluster-ip-range=10.96.0.0/16",
        f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC",
        f"--service-account-key-file={key}.pub", f"--service-account-signing-key-file={key}",
        f"--service-account-issuer={issuer}", f"--api-audiences={issuer}",
        "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
    ]  # fmt: skip


def _controllers(folder: Path, bin_folder: Path, admin: Path, port: int) -> list[str]:
    return [
        str(bin_folder / "kube-controller-manager"), f"--kubeconfig={admin}", "--controllers=*,-csrsigning",
        f"--service-account-private-key-file={folder / 'certs' / 'accounts.key'}", f"--bind-address={HOST}",
        f"--secure-port={port}", "--port=0", "--leader-elect=false", "--node-monitor-grace-period=60s",
    ]  # fmt: skip


def _scheduler(bin_folder: Path, admin: Path, port: int) -> list[str]:
    return [
        str(bin_folder / "kube-scheduler"), f"--kubeconfig={admin}", f"--bind-address={HOST}",
        f"--secure-port={port}", "--port=0", "--leader-elect=false",
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as held:
        held.bind((HOST, 0))
        return int(held.getsockname()[1])


def _wait_until_ready(plane: Plane, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    request = urllib.request.Request(f"{plane.url}/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    trust = ssl._create_unverified_context()
    while True:
        for name, process in plane.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended: {(plane.folder / f'{name}.log').read_text()[-2000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5, context=trust) as answer:
            if answer.read() == b"ok":
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the API server is not ready after {timeout_s:g} s")
        time.sleep(0.2)


def main() -> None:
    with running(Path(sys.argv[1]).resolve(), Path(sys.argv[2])) as plane:
        print(f"export KUBECONFIG={plane.folder / 'admin.yaml'}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
