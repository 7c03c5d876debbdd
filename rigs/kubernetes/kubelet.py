"""Stands in for the kubelets of all nodes: each pod that the scheduler binds becomes a process of this machine.

    python rigs/kubernetes/kubelet.py FOLDER    # FOLDER: the control plane's, with admin.yaml

What is like the real thing: `$(NAME)` in commands, the pod's own address in its environment (as `RIG_HOST`, too: a
pod that has a network of its own would listen on all of it), readiness probes, SIGTERM
and SIGKILL after the grace that the pod was deleted with, restarts with growing delays, the kubelet's log endpoint, and
an image that cannot be pulled (any whose registry is `nowhere.invalid`). What is not: images, volumes, limits,
networks. A pod's address is one of 127.66.0.0/16, so every pod can have the same port.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import Pod as PodModel
from lightkube.resources.core_v1 import Node as NodeObject
from lightkube.resources.core_v1 import NodeStatus, Pod, PodStatus
from lightkube.types import PatchType
from nodes import NODES, Node

_UNPULLABLE = "nowhere.invalid/"
_HEARTBEAT_S = 10.0
_PROBE_EVERY_S = 0.2
_TICK_S = 0.05
_BACKOFF_S = (0.0, 1.0, 5.0, 20.0)


class RunningPod:
    """One pod, from its binding until it is gone."""

    def __init__(self, kubelet: Kubelet, pod: PodModel, address: str) -> None:
        self.name, self.namespace, self.uid = pod.metadata.name, pod.metadata.namespace, pod.metadata.uid
        self.container = pod.spec.containers[0]
        self.address, self.started, self.restarts = address, _now(), 0
        self.log_path = kubelet.folder / "pods" / f"{self.name}.log"
        self.ending = threading.Event()
        self.grace_s = float(pod.spec.terminationGracePeriodSeconds or 30)
        self._kubelet, self._ready, self._process = kubelet, False, None
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _live(self) -> None:
        if (self.container.image or "").startswith(_UNPULLABLE):
            why = {"reason": "ErrImagePull", "message": f"no such image: {self.container.image}"}
            self._tell("Pending", {"waiting": why}, address=False)
            self.ending.wait()
        while not self.ending.is_set():
            code = self._run()
            if self.ending.is_set():
                break
            self.restarts += 1
            why = {"reason": "CrashLoopBackOff", "message": f"restarting failed container={self.container.name}"}
            self._tell("Running", {"waiting": why}, {"terminated": {"exitCode": code, "reason": "Error"}})
            self.ending.wait(_BACKOFF_S[min(self.restarts, len(_BACKOFF_S)) - 1])
        self._kubelet.remove(self)

    def _run(self) -> int:
        """One life of the container; its exit code."""
        with self.log_path.open("ab") as log:
            try:
                self._process = process = subprocess.Popen(
                    self._command(), env=self._environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                log.write(f"{error}\n".encode())
                return 127
        self._ready = False
        self._tell("Running", {"running": {"startedAt": _now()}})
        probed_at = 0.0
        while process.poll() is None and not self.ending.wait(_TICK_S):
            if time.monotonic() - probed_at >= _PROBE_EVERY_S:
                probed_at = time.monotonic()
                self._set_ready(self._probe())
        self._ready = False
        if self.ending.is_set() and process.poll() is None:
            self._end(process)
        return process.wait()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _set_ready(self, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            self._tell("Running", {"running": {"startedAt": self.started}})

    def _probe(self) -> bool:
        probe = self.container.readinessProbe
        if probe is None or probe.httpGet is None:
            return True
        named = {p.name: p.containerPort for p in self.container.ports or ()}
        port = named.get(probe.httpGet.port, probe.httpGet.port)
        connection = http.client.HTTPConnection(self.address, int(port), timeout=1)
        try:
            connection.request("GET", probe.httpGet.path or "/")
            return connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _command(self) -> list[str]:
        values = self._environment()
        words = [*(self.container.command or ()), *(self.container.args or ())]
        return [re.sub(r"\$\((\w+)\)", lambda m: values.get(m[1], m[0]), word) for word in words]

    def _environment(self) -> dict[str, str]:
        fields = {"status.podIP": self.address, "metadata.name": self.name, "metadata.namespace": self.namespace}
        values = {k: v for k, v in os.environ.items() if not k.startswith("POLYFLEET_")} | {"RIG_HOST": self.address}
        for variable in self.container.env or ():
            reference = variable.valueFrom.fieldRef if variable.valueFrom else None
            values[variable.name] = fields.get(reference.fieldPath, "") if reference else variable.value or ""
        return values

    def _tell(
        self, phase: str, state: dict[str, Any], last: dict[str, Any] | None = None, address: bool = True
    ) -> None:
        now, ready = _now(), "True" if self._ready else "False"
        container = {
            "name": self.container.name, "image": self.container.image, "imageID": "", "ready": self._ready,
            "restartCount": self.restarts, "state": state, "lastState": last or {}, "started": "running" in state,
        }  # fmt: skip
        conditions = [
            {"type": kind, "status": "True" if kind == "Initialized" else ready, "lastTransitionTime": now}
            for kind in ("Initialized", "Ready", "ContainersReady")
        ]
        status: dict[str, Any] = {
            "phase": phase, "startTime": self.started, "containerStatuses": [container], "conditions": conditions,
        }  # fmt: skip
        if address:
            status |= {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        self._kubelet.patch_status(self, status)


class Kubelet:
    """The pods of all nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._client = Client(KubeConfig.from_file(folder / "admin.yaml"), field_manager="kubelet")
        self._pods: dict[str, RunningPod] = {}
        self._addresses = iter(f"127.66.{high}.{low}" for high in range(256) for low in range(2, 250))
        (folder / "pods").mkdir(exist_ok=True)

    def run(self) -> None:
        server = _log_server(self.folder, self.runs)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for node in NODES:
            self._register(node, server.server_port)
        threading.Thread(target=self._beat, args=(server.server_port,), daemon=True).start()
        print("ready", flush=True)
        while True:
            with contextlib.suppress(Exception):  # whatever the API server does, go on
                self._follow()
            time.sleep(0.5)

    def remove(self, pod: RunningPod) -> None:
        """Its process is gone: let the API server forget it."""
        while True:
            try:
                self._client.delete(Pod, pod.name, namespace=pod.namespace, grace_period=0)
                return
            except ApiError:
                return
            except Exception:
                time.sleep(0.5)

    def runs(self, name: str) -> bool:
        return any(pod.name == name and pod.is_alive for pod in tuple(self._pods.values()))

    def patch_status(self, pod: RunningPod, status: dict[str, Any]) -> None:
        for _ in range(20):
            try:
                self._client.patch(PodStatus, pod.name, {"status": status}, namespace=pod.namespace)
                return
            except ApiError:
                return
            except Exception:
                time.sleep(0.5)

    def end_all(self) -> None:
        for pod in tuple(self._pods.values()):
            if pod._process and pod._process.poll() is None:
                pod._process.kill()

    def _follow(self) -> None:
        found = self._client.list(Pod, namespace="*")
        seen = {pod.metadata.uid for pod in found if self._take(pod)}
        for uid in set(self._pods) - seen:
            self._pods.pop(uid).ending.set()
        version = found.resourceVersion
        for kind, pod in self._client.watch(Pod, namespace="*", resource_version=version, server_timeout=60):
            if kind == "DELETED":
                gone = self._pods.pop(pod.metadata.uid, None)
                if gone:
                    gone.ending.set()
            else:
                self._take(pod)

    def _take(self, pod: PodModel) -> bool:
        if not pod.spec.nodeName:
            return False
        known = self._pods.get(pod.metadata.uid)
        if known is None and not pod.metadata.deletionTimestamp:
            known = self._pods[pod.metadata.uid] = RunningPod(self, pod, next(self._addresses))
        if pod.metadata.deletionTimestamp:
            if known is None:
                self._client.delete(Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period=0)
            else:
                known.grace_s = float(pod.metadata.deletionGracePeriodSeconds or 0)
                known.ending.set()
        return True

    def _register(self, node: Node, port: int) -> None:
        self._client.apply(
            NodeObject.from_dict({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": dict(node.labels)},
                "spec": {"taints": node.taints},
            })
        )  # fmt: skip
        self._patch_node(node, port)

    def _patch_node(self, node: Node, port: int) -> None:
        now = _now()
        ready = {
            "type": "Ready", "status": "True", "reason": "Rig", "message": "", "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }  # fmt: skip
        status = {
            "capacity": node.allocatable, "allocatable": node.allocatable, "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }  # fmt: skip
        self._client.patch(NodeStatus, node.name, {"status": status}, patch_type=PatchType.STRATEGIC)

    def _beat(self, port: int) -> None:
        while True:
            time.sleep(_HEARTBEAT_S)
            for node in NODES:
                with contextlib.suppress(Exception):
                    self._patch_node(node, port)


def _log_server(folder: Path, runs: Callable[[str], bool]) -> ThreadingHTTPServer:
    """The kubelet's endpoint that the API server fetches logs from."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            parts = place.path.strip("/").split("/")
            path = folder / "pods" / f"{parts[2]}.log" if parts[0] == "containerLogs" else None
            if path is None or not path.exists():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            asked = {name: values[0] for name, values in parse_qs(place.query).items()}
            text = path.read_bytes()
            lines = text.splitlines(keepends=True)
            self.wfile.write(b"".join(lines[-int(asked["tailLines"]) :] if "tailLines" in asked else lines))
            if asked.get("follow") == "true":
                self._follow(path, len(text), parts[2])

        def _follow(self, path: Path, at: int, pod: str) -> None:
            """Until the pod is gone."""
            with path.open("rb") as file, contextlib.suppress(OSError):
                file.seek(at)
                is_there = True
                while is_there:
                    is_there = runs(pod)  # before what it wrote last is read
                    self.wfile.write(file.read())
                    self.wfile.flush()
                    time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(folder / "certs" / "apiserver.crt", folder / "certs" / "apiserver.key")
    server.socket = trust.wrap_socket(server.socket, server_side=True)
    return server


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    kubelet = Kubelet(Path(sys.argv[1]).resolve())

    def end(*_: object) -> None:
        kubelet.end_all()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    kubelet.run()


if __name__ == "__main__":
    main()
