"""All of a fleet's objects in a namespace, as the API server tells of them: listed once, then watched."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from polyfleet.errors import LaunchError
from polyfleet.launch.kubernetes.cluster import WATCH_S, Cluster
from polyfleet.launch.kubernetes.objects import WORKLOADS, Object
from polyfleet.launch.kubernetes.refusals import GoneError, NoKindError

_LOG = logging.getLogger("polyfleet.kubernetes")
_OPTIONAL = ("LeaderWorkerSet",)
_ABSENT_S = 60.0
"""What the cluster does not know is asked for so often, or once we made one: it may be installed meanwhile."""
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
KINDS = ("ConfigMap", *WORKLOADS, "Pod")


@dataclass(slots=True)
class _Kind:
    """What is known of one kind. `error`: why it is not being watched just now. `put_at`: objects that we made
    ourselves, by when: a list that was begun before may lack them."""

    objects: dict[str, Object] = field(default_factory=dict)
    listed: bool = False
    error: LaunchError | None = None
    put_at: dict[str, float] = field(default_factory=dict)


class Sight:
    """The objects, kept up to date by one thread per kind. While the API server is away they stay as last seen.

    `changed` is notified of every change.
    """

    def __init__(self, cluster: Cluster, labels: Mapping[str, str]) -> None:
        self._cluster, self._labels = cluster, dict(labels)
        self._kinds = {kind: _Kind() for kind in KINDS}
        self._closed = threading.Event()
        self._begun = False
        self._following = 0
        self.changed = threading.Condition()

    def begin(self) -> None:
        """Start to watch; nothing where it does already."""
        with self.changed:
            if self._begun:
                return
            self._begun = True
            self._following = len(KINDS)
        for kind in KINDS:
            threading.Thread(target=self._live, args=(kind,), daemon=True, name=f"sight-{kind}").start()

    def close(self) -> None:
        """Each thread ends with the server's next word, and the last of them closes the connections. Nobody else may: a
        socket that is closed below a thread that reads from it gives its number to the next file that is opened, and
        TLS then writes its farewell into that file."""
        self._closed.set()
        with self.changed:
            self.changed.notify_all()

    def wait_listed(self, timeout_s: float) -> None:
        """Return once everything was listed. Raises LaunchError with why it was not."""
        self.begin()
        with self.changed:
            self.changed.wait_for(lambda: all(k.listed or k.error for k in self._kinds.values()), timeout_s)
            missing = [kind for kind in self._kinds.values() if not kind.listed]
            if missing:
                error = next((kind.error for kind in missing if kind.error), None)
                raise error or LaunchError(f"{self._cluster.place}: no answer within {timeout_s:g} s")

    @property
    def is_listed(self) -> bool:
        """Whether everything was listed once."""
        with self.changed:
            return all(kind.listed for kind in self._kinds.values())

    @property
    def error(self) -> LaunchError | None:
        """Why something is not being watched just now."""
        with self.changed:
            return next((kind.error for kind in self._kinds.values() if kind.error), None)

    def all(self, kind: str) -> dict[str, Object]:
        """By name."""
        with self.changed:
            return dict(self._kinds[kind].objects)

    def put(self, kind: str, made: Object) -> None:
        """What we made just now, before the watch tells of it."""
        with self.changed:
            name = made["metadata"]["name"]
            self._kinds[kind].objects[name] = made
            self._kinds[kind].put_at[name] = time.monotonic()
            self.changed.notify_all()

    def _live(self, kind: str) -> None:
        try:
            self._follow(kind)
        finally:
            with self.changed:
                self._following -= 1
                last = not self._following
            if last:
                self._cluster.close()

    def _follow(self, kind: str) -> None:
        failed = 0
        while not self._closed.is_set():
            try:
                version = self._list(kind)
                failed = 0
                while not self._closed.is_set():
                    version = self._watch(kind, version)
            except GoneError:
                continue
            except NoKindError as error:
                self._note_absent(kind, error)
                with self.changed:
                    known = self._kinds[kind]
                    self.changed.wait_for(lambda: self._closed.is_set() or known.objects, _ABSENT_S)  # noqa: B023 - used here
                self._closed.wait(1.0)
            except LaunchError as error:
                self._note(kind, error)
                self._closed.wait(_BACKOFF_S[min(failed, len(_BACKOFF_S) - 1)])
                failed += 1

    def _list(self, kind: str) -> str:
        begun = time.monotonic()
        found, version = self._cluster.list(kind, self._labels)
        with self.changed:
            known = self._kinds[kind]
            newer = {n: o for n, o in known.objects.items() if known.put_at.get(n, 0.0) > begun}
            known.objects = {o["metadata"]["name"]: o for o in found} | newer
            known.put_at = {name: at for name, at in known.put_at.items() if name in newer}
            known.listed, known.error = True, None
            self.changed.notify_all()
        return version

    def _watch(self, kind: str, version: str) -> str:
        """Take in what happens until the server ends the watch; the version reached."""
        for event, found in self._cluster.watch(kind, self._labels, version, WATCH_S):
            version = found["metadata"]["resourceVersion"]
            with self.changed:
                objects = self._kinds[kind].objects
                if event == "DELETED":
                    objects.pop(found["metadata"]["name"], None)
                elif event in ("ADDED", "MODIFIED"):
                    objects[found["metadata"]["name"]] = found
                self.changed.notify_all()
        return version

    def _note_absent(self, kind: str, error: LaunchError) -> None:
        """There are none; where there were, or always are, the API server is not what it should be."""
        if kind not in _OPTIONAL or self.all(kind):
            self._note(kind, error)
            return
        with self.changed:
            self._kinds[kind].listed, self._kinds[kind].error = True, None
            self.changed.notify_all()

    def _note(self, kind: str, error: LaunchError) -> None:
        with self.changed:
            if self._kinds[kind].error is None and not self._closed.is_set():
                _LOG.warning("%s", error)
            self._kinds[kind].error = error
            self.changed.notify_all()
