"""What clusters and jobs are called: by their names a fleet's are found again, whoever forgot them."""

from __future__ import annotations

import hashlib
import re

from polyfleet.terms.fleet import ReplicaSpec

_PREFIX = "pf-"
_FLEET = 8
_LONGEST = 24
"""Of a machine's part: with the rest, and what SkyPilot adds, a name stays within what clouds take."""
_JOB = re.compile(r"^([a-z0-9][a-z0-9-]*)\.([0-9a-f]{16})$")


def prefix_of(fleet: str) -> str:
    """What the names of all clusters of a fleet begin with."""
    return f"{_PREFIX}{fleet[:_FLEET]}-"


def machine_of(spec: ReplicaSpec) -> str:
    """The machine that a replica stands on: one that it shares, else its own."""
    return spec.machine or spec.id


def cluster_of(fleet: str, spec: ReplicaSpec) -> str:
    """The cluster that is a replica's machine."""
    part = re.sub(r"[^a-z0-9]+", "-", machine_of(spec).casefold()).strip("-")
    if part != machine_of(spec) or len(part) > _LONGEST:
        digest = hashlib.sha256(machine_of(spec).encode()).hexdigest()[:8]
        part = f"{part[: _LONGEST - 9].strip('-')}-{digest}".strip("-")
    return prefix_of(fleet) + part


def job_of(spec: ReplicaSpec) -> str:
    """The job that is a replica: its id and the digest of what it was started as."""
    return f"{spec.id}.{spec.digest}"


def read_job(name: str) -> tuple[str, str] | None:
    """Replica id and digest; None where the job is not ours."""
    found = _JOB.match(name)
    return (found[1], found[2]) if found else None
