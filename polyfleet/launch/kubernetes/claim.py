"""The claim that keeps a second fleet out of a namespace."""

from __future__ import annotations

import getpass
import socket
from datetime import UTC, datetime

from polyfleet.errors import LaunchError
from polyfleet.launch.kubernetes.cluster import Cluster
from polyfleet.launch.kubernetes.objects import Object, fleet_labels, is_ours

CLAIM = "polyfleet"
"""The ConfigMap that says whose the namespace is."""


class Claim:
    """A fleet's hold of a namespace: a ConfigMap that can be made once only, whoever asks at the same moment."""

    def __init__(self, cluster: Cluster, fleet: str) -> None:
        self._cluster, self._fleet = cluster, fleet
        self._released = ""

    def check(self) -> None:
        """Raises LaunchError where another fleet holds the namespace, or the claim could not be made."""
        found = self._cluster.get("ConfigMap", CLAIM)
        self._require_free(found)
        if found is None:
            self._cluster.apply(self._wanted(), dry_run=True)

    def take(self) -> None:
        """Raises LaunchError where another fleet holds it."""
        wanted = self._wanted()
        while not self._cluster.create(wanted):
            found = self._cluster.get("ConfigMap", CLAIM)
            self._require_free(found)
            if found is not None:
                return

    def release(self, held: Object) -> None:
        """Let go, once: asked again it could be another fleet's by now."""
        if held["metadata"]["uid"] != self._released:
            self._cluster.delete("ConfigMap", CLAIM)
            self._released = held["metadata"]["uid"]

    def _wanted(self) -> Object:
        try:
            who = f"{getpass.getuser()}@{socket.gethostname()}"
        except (KeyError, OSError):
            who = socket.gethostname()
        return {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": CLAIM, "namespace": self._cluster.place.namespace, "labels": fleet_labels(self._fleet)
            },
            "data": {"fleet": self._fleet, "by": who, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"},
        }  # fmt: skip

    def _require_free(self, found: Object | None) -> None:
        if found is None or is_ours(found, self._fleet):
            return
        data, place = found.get("data") or {}, self._cluster.place
        raise LaunchError(
            f"{place}: the namespace holds the fleet of {data.get('by', 'somebody else')} since "
            f"{data.get('since', 'an unknown time')}; use another namespace, or take that one down. If it is gone for "
            f"good: kubectl --context {place.context} -n {place.namespace} delete configmap {CLAIM}"
        )
