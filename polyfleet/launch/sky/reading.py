"""What was seen of machines, as replicas. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from polyfleet.launch.driver import Alive
from polyfleet.launch.sky.client import Job
from polyfleet.launch.sky.names import job_of, read_job
from polyfleet.launch.sky.notes import unknown_spec
from polyfleet.launch.sky.sight import Machine
from polyfleet.launch.sky.task import manifest_of
from polyfleet.terms.fleet import ReplicaSpec

IDLE = "idle-"
"""What the id of a machine begins with that is rented and on which nothing of ours runs."""
Noted = Mapping[str, ReplicaSpec]


def running(machine: Machine, noted: Noted) -> dict[str, Alive]:
    """The replicas on a machine by id: its live jobs, the oldest of each; while its jobs could not be asked for, all
    that was to run there, since not to know is no death."""
    found: dict[str, Alive] = {}
    if machine.cluster.is_up and machine.jobs is None:
        return {spec.id: _unsure(machine, spec) for spec in noted.values()}
    for job in sorted(machine.live, key=lambda job: job.id):
        named = read_job(job.name)
        if named is not None and named[0] not in found:
            found[named[0]] = _alive(machine, job, *named, noted)
    return found


def doubles(machine: Machine) -> list[Job]:
    """Live jobs of replicas that an older live job is already."""
    seen: set[str] = set()
    found = []
    for job in sorted(machine.live, key=lambda job: job.id):
        named = read_job(job.name)
        if named is not None and named[0] in seen:
            found.append(job)
        elif named is not None:
            seen.add(named[0])
    return found


def orphans(machine: Machine, noted: Noted) -> list[ReplicaSpec]:
    """Replicas that were to run on a machine and never got a job: who asked for it died in between."""
    if machine.cluster.is_up and machine.jobs is None:
        return []
    begun = {job.name for job in machine.jobs or ()}
    return [spec for spec in noted.values() if job_of(spec) not in begun]


def coming(spec: ReplicaSpec, trouble: str) -> Alive:
    """A replica whose machine is being asked for."""
    return Alive(spec, number("coming", spec.id, spec.digest), 0.0, "", trouble)


def idle(machine: Machine, prefix: str) -> Alive:
    """A machine on which nothing runs, as a replica that nobody wants."""
    name = f"{IDLE}{machine.cluster.name.removeprefix(prefix)}"[:40].rstrip("-")
    return Alive(unknown_spec(name), number(machine.cluster.hash, "idle"), 0.0, "", "nothing runs on this machine")


def number(*parts: str) -> int:
    """The same parts, the same number, of the size of a pid."""
    return int.from_bytes(hashlib.sha256("/".join(parts).encode()).digest()[:4], "big") >> 1


def _unsure(machine: Machine, spec: ReplicaSpec) -> Alive:
    address = machine.endpoints.get(manifest_of(spec).port, "")
    found = coming(spec, "its machine has not said yet what runs there")
    return Alive(spec, found.pid, found.process_started, f"http://{address}" if address else "", found.trouble)


def _alive(machine: Machine, job: Job, replica_id: str, digest: str, noted: Noted) -> Alive:
    spec = noted.get(replica_id)
    if spec is None or spec.digest != digest:
        spec = unknown_spec(replica_id)
    address = machine.endpoints.get(manifest_of(spec).port, "") if spec.manifest else ""
    if not machine.cluster.is_up:
        trouble = f"SkyPilot calls its machine {machine.cluster.status}: {machine.cluster.told or 'no reason given'}"
    elif job.status not in ("RUNNING", ""):
        trouble = f"its job is {job.status}"
    else:
        trouble = ""
    url = f"http://{address}" if address else ""
    return Alive(spec, number(machine.cluster.hash, str(job.id)), float(job.id), url, trouble)
