"""What several replicas have in common in a namespace: made with the first of them, ended after the last."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping

from polyfleet.errors import LaunchError
from polyfleet.launch.kubernetes.cluster import Cluster
from polyfleet.launch.kubernetes.objects import SHARED, Object, Objects, fleet_labels, is_ours, marked_shared
from polyfleet.launch.kubernetes.refusals import NoKindError

Name = tuple[str, str]
"""Kind and name."""


class Shared:
    """The shared objects of a fleet. Nothing counts them: those that no replica's manifest names are ended."""

    def __init__(self, cluster: Cluster, fleet: str) -> None:
        self._cluster, self._fleet = cluster, fleet
        self._applied: dict[Name, str] = {}
        self._pruned_for: frozenset[Name] | None = None

    def apply(self, bodies: Objects, *, dry_run: bool = False) -> None:
        """Make them, or make them so. Raises LaunchError where one of the name is another's."""
        for body in bodies:
            made = marked_shared(body, self._fleet, self._cluster.place.namespace)
            name, text = name_of(made), json.dumps(made, sort_keys=True)
            if self._applied.get(name) == text:
                continue
            self._require_own(name)
            with contextlib.suppress(NoKindError):  # an older API server: replicas run without what they share
                self._cluster.apply(made, dry_run=dry_run)
            if not dry_run:
                self._applied[name] = text
                self._pruned_for = None

    def prune(self, used: Iterable[Name]) -> None:
        """End those that are not used. Asks the API server only where another set is used than before."""
        wanted = frozenset(used)
        if wanted == self._pruned_for:
            return
        for kind in SHARED:
            for name in self._there(kind) - wanted:
                self._cluster.delete(*name)
                self._applied.pop(name, None)
        self._pruned_for = wanted

    def _there(self, kind: str) -> set[Name]:
        try:
            found, _ = self._cluster.list(kind, fleet_labels(self._fleet))
        except NoKindError:  # an older API server
            return set()
        return {(kind, one["metadata"]["name"]) for one in found}

    def _require_own(self, name: Name) -> None:
        if name in self._applied:
            return
        found = self._cluster.get(*name)
        if found is not None and not is_ours(found, self._fleet):
            raise not_ours(self._cluster, *name)


def name_of(body: Mapping[str, Object]) -> Name:
    return str(body["kind"]), str(body["metadata"]["name"])


def not_ours(cluster: Cluster, kind: str, name: str) -> LaunchError:
    """There is one of this name that is another's."""
    return LaunchError(
        f"{cluster.place}: there is a {kind} {name} that is not polyfleet's; rename one, or use another namespace"
    )
