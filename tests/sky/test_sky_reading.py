"""Names, notes and tasks: what is whose, and what SkyPilot is handed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sky_toys import FLEET, offer, replica_spec

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.client import Cluster, Job
from polyfleet.launch.sky.names import cluster_of, job_of, prefix_of, read_job
from polyfleet.launch.sky.notes import Notes
from polyfleet.launch.sky.reading import doubles, idle, orphans, running
from polyfleet.launch.sky.sight import Machine
from polyfleet.launch.sky.task import job_task, manifest_of, resources_of
from polyfleet.terms.fleet import PricedOffer

_IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
_SKYPILOT_TAKES = re.compile(r"^[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$")
_GCP_LONGEST = 63 - len("-0123abcd-head-0123-compute")


@given(_IDS, _IDS)
def test_every_machine_has_a_cluster_of_its_own_within_what_clouds_take(one, other):
    names = [cluster_of(FLEET, replica_spec(name)) for name in (one, other)]
    for name in names:
        assert _SKYPILOT_TAKES.match(name)
        assert len(name) <= _GCP_LONGEST
        assert name.startswith(prefix_of(FLEET))
    assert (names[0] == names[1]) == (one == other)


@given(_IDS)
def test_a_job_tells_its_replica_and_what_it_was_started_as(name):
    spec = replica_spec(name)
    assert read_job(job_of(spec)) == (name, spec.digest)


@given(st.text(max_size=60))
def test_a_job_of_somebody_else_is_none_of_ours(name):
    found = read_job(name)
    assert found is None or name == ".".join(found)


@given(st.binary(max_size=200))
def test_a_note_that_cannot_be_read_is_no_note(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("notes")
    (folder / "pf-x").mkdir()
    (folder / "pf-x" / "a.json").write_bytes(content)
    assert Notes(folder).of("pf-x") == {}


def test_notes_are_found_by_the_next_keeper(tmp_path: Path) -> None:
    spec = replica_spec()
    Notes(tmp_path).write("pf-x", spec)
    assert Notes(tmp_path).all() == {"pf-x": {spec.id: spec}}
    Notes(tmp_path).remove("pf-x", spec.id)
    assert Notes(tmp_path).all() == {}


@given(st.text(max_size=80) | st.sampled_from(["{}", "[]", '{"run": "x", "port": 0}', '{"run": 3, "port": 1}']))
def test_a_manifest_that_is_none_is_refused_in_a_line(text):
    spec = replica_spec().model_copy(update={"manifest": text})
    with pytest.raises(LaunchError, match=r"chat-0: no task for SkyPilot: .*polyfleet up"):
        manifest_of(spec)


def test_what_is_rented_bears_the_fleets_labels_all_ports_and_ends_itself_when_forgotten() -> None:
    spec = replica_spec(port=8001, machine="big-0")
    spec = spec.model_copy(update={"manifest": json.dumps(json.loads(spec.manifest) | {"ports": [8000, 8001]})})
    made = resources_of(spec, offer(), FLEET)
    assert made["infra"] == "aws/us-east-1"
    assert made["ports"] == [8000, 8001]
    assert made["labels"] == {"polyfleet-fleet": FLEET, "polyfleet-machine": "big-0"}
    assert made["autostop"]["down"] is True
    elsewhere = PricedOffer(offer="x", usd_per_hour=1, resources='{"infra": "verda/FIN-01", "accelerators": "H100:1"}')
    assert "autostop" not in resources_of(spec, elsewhere, FLEET), "SkyPilot refuses it where a machine cannot"


def test_no_value_of_a_secret_is_in_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    assert "sesame" not in json.dumps(job_task(replica_spec()))


def _machine(*jobs: Job, status: str = "UP") -> Machine:
    return Machine(Cluster(f"pf-{FLEET}-chat-0", status, "hash-1", {}), jobs, {1: "10.0.0.1:1"})


def test_jobs_are_replicas_as_their_notes_say() -> None:
    spec = replica_spec()
    found = running(_machine(Job(1, job_of(spec), "RUNNING", live=True)), {spec.id: spec})[spec.id]
    assert (found.spec, found.url, found.trouble) == (spec, "http://10.0.0.1:1", "")
    waits = running(_machine(Job(1, job_of(spec), "SETTING_UP", live=True)), {spec.id: spec})[spec.id]
    assert (waits.pid, waits.trouble) == (found.pid, "its job is SETTING_UP")
    newer = running(_machine(Job(2, job_of(spec), "RUNNING", live=True)), {spec.id: spec})[spec.id]
    assert newer.pid != found.pid, "another job is another life"
    unknown = running(_machine(Job(1, job_of(spec), "RUNNING", live=True)), {})[spec.id]
    assert unknown.spec.digest != spec.digest
    assert unknown.spec.place == "sky", "whoever ends it must know whose it is"


def test_while_a_machine_does_not_say_what_runs_there_it_is_taken_to_run() -> None:
    spec = replica_spec()
    found = running(Machine(Cluster("pf-x", "UP", "hash-1", {}), None, {1: "10.0.0.1:1"}), {spec.id: spec})[spec.id]
    assert (found.spec, found.url) == (spec, "http://10.0.0.1:1")
    assert "has not said yet" in found.trouble


def test_ended_jobs_and_other_peoples_are_no_replicas() -> None:
    spec = replica_spec()
    jobs = (Job(1, job_of(spec), "FAILED", live=False), Job(2, "train", "RUNNING", live=True))
    assert running(_machine(*jobs), {spec.id: spec}) == {}


def test_the_newer_of_two_jobs_of_a_replica_is_the_double() -> None:
    spec = replica_spec()
    jobs = [Job(n, job_of(spec), "RUNNING", live=True) for n in (3, 2)]
    assert [job.id for job in doubles(_machine(*jobs))] == [3]


def test_a_replica_without_a_job_is_an_orphan_and_one_whose_job_ended_is_not() -> None:
    spec = replica_spec()
    assert orphans(_machine(), {spec.id: spec}) == [spec]
    assert orphans(_machine(status="INIT"), {spec.id: spec}) == [spec]
    assert orphans(_machine(Job(1, job_of(spec), "FAILED", live=False)), {spec.id: spec}) == []
    unasked = Machine(Cluster("pf-x", "UP", "hash-1", {}))
    assert orphans(unasked, {spec.id: spec}) == [], "its jobs were not asked for yet"


def test_an_idle_machine_is_a_replica_that_nobody_wants() -> None:
    found = idle(_machine(), prefix_of(FLEET))
    assert (found.spec.id, found.spec.place, found.url) == ("idle-chat-0", "sky", "")
