"""What each replica was started as, written down before its machine is asked for.

`<home>/run/sky/<cluster>/<replica>.json`, whole or not at all. SkyPilot gives back a job's name, which holds the id and
the digest; a whole spec fits in no label of every cloud.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from polyfleet.files import make_folder, write_whole
from polyfleet.terms.fleet import ReplicaSpec


class Notes:
    """The notes of one home: read once, since only its keeper writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._noted = _read_all(folder)

    def write(self, cluster: str, spec: ReplicaSpec) -> None:
        """Raises InputError where it cannot be written: then nothing may be started."""
        make_folder(self._folder / cluster)
        write_whole(self._folder / cluster / f"{spec.id}.json", spec.model_dump_json())
        with self._lock:
            self._noted[cluster] = {**self._noted.get(cluster, {}), spec.id: spec}

    def remove(self, cluster: str, replica_id: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / cluster / f"{replica_id}.json").unlink(missing_ok=True)
            (self._folder / cluster).rmdir()
        with self._lock:
            left = {i: spec for i, spec in self._noted.pop(cluster, {}).items() if i != replica_id}
            if left:
                self._noted[cluster] = left

    def of(self, cluster: str) -> Mapping[str, ReplicaSpec]:
        """By replica id. What another version wrote is left out."""
        with self._lock:
            return self._noted.get(cluster, {})

    def all(self) -> Mapping[str, Mapping[str, ReplicaSpec]]:
        """By cluster and replica id."""
        with self._lock:
            return dict(self._noted)


def _read_all(folder: Path) -> dict[str, Mapping[str, ReplicaSpec]]:
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return {}
    found = {each.name: _read(each) for each in folders}
    return {name: noted for name, noted in found.items() if noted}


def _read(folder: Path) -> Mapping[str, ReplicaSpec]:
    found: dict[str, ReplicaSpec] = {}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValidationError, UnicodeDecodeError):
            spec = ReplicaSpec.model_validate_json(path.read_text())
            found[spec.id] = spec
    return found


def unknown_spec(replica_id: str) -> ReplicaSpec:
    """In place of what it was started as, where no note says so: it differs from all that is wanted."""
    return ReplicaSpec(id=replica_id, workload="", served=("unknown",), engine="command", weights="", place="sky")
