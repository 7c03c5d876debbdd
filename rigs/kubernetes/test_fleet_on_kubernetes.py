"""A fleet on a real API server, scheduler and controllers: it comes, it follows its pods, it goes.

Figures are printed with `-s`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import wait_for
from fleet import replicas
from lightkube import Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Node, Pod
from rig_fleet import TEXT, Fleet, ReadyTimes, asked_all_the_while, fleet_of, host, left, open_only, pods
from servers import Plane


@pytest.fixture
def fleet(home: Path, plane: Plane, namespaces: tuple[str, str]) -> Iterator[Fleet]:
    with fleet_of(home, plane, namespaces) as made:
        yield made


def test_three_replicas_come_follow_their_pods_and_go_without_a_trace(
    fleet: Fleet, plane: Plane, namespaces: tuple[str, str], admin: Client, weights: Path, http: httpx2.Client
) -> None:
    east = namespaces[0]
    specs, begun = replicas(3, weights, east), time.monotonic()
    ready = ReadyTimes(admin, east)
    fleet.want(specs)
    headers = fleet.key()

    def answers() -> bool:
        try:
            return http.post(f"{fleet.url}/completions", json=TEXT, headers=headers).status_code == 200
        except httpx2.HTTPError:
            return False

    wait_for(answers)
    first_s = time.monotonic() - begun
    wait_for(lambda: len(fleet.routes()) == 3)
    routed = time.monotonic()
    late_s = routed - max(ready.at.values())
    routed_s = routed - begun
    print(f"\nfirst token {first_s:.1f} s, three routes {routed_s:.1f} s, {late_s:.2f} s after the last Ready")
    assert late_s < 1.0
    assert {host(url) for url in fleet.routes().values()} == set(ready.at)

    for _ in range(3):  # a pod that is deleted comes back under another address
        victim = random.choice(specs).id
        before = fleet.routes()[victim]
        admin.delete(Pod, pods(admin, east)[victim][0], namespace=east)
        gone_s = wait_for(lambda: victim not in fleet.routes())  # noqa: B023
        wait_for(lambda: fleet.routes().get(victim, before) != before)  # noqa: B023
        late_s = time.monotonic() - ready.at[host(fleet.routes()[victim])]
        print(f"pod deleted: out of routes after {gone_s:.2f} s, its successor's address {late_s:.2f} s after Ready")
        assert gone_s < 1.0
        assert late_s < 1.0

    node = admin.get(Pod, pods(admin, east)[specs[0].id][0], namespace=east).spec.nodeName
    admin.patch(Node, node, {"spec": {"unschedulable": True}})
    try:  # a node that is drained: its pods are evicted, and come back elsewhere
        there = [p.metadata.name for p in admin.list(Pod, namespace=east, fields={"spec.nodeName": node})]
        for name in there:
            plane.evict(east, name)
        wait_for(lambda: not list(admin.list(Pod, namespace=east, fields={"spec.nodeName": node})))
        wait_for(lambda: fleet.are_ready(specs) and len(fleet.routes()) == 3)
        assert not list(admin.list(Pod, namespace=east, fields={"spec.nodeName": node}))
        wait_for(answers, 5)
    finally:
        admin.patch(Node, node, {"spec": {"unschedulable": False}})

    generations = {d.metadata.name: d.metadata.generation for d in admin.list(Deployment, namespace=east)}
    fleet.kill()
    fleet.keep()
    wait_for(lambda: fleet.are_ready(specs))
    time.sleep(2)  # what a new keeper might do to them, it would do now
    assert {d.metadata.name: d.metadata.generation for d in admin.list(Deployment, namespace=east)} == generations
    assert all(len(found) == 1 for found in pods(admin, east).values())
    begun = time.monotonic()
    fleet.down()
    print(f"down after {time.monotonic() - begun:.1f} s")
    assert left(admin, east) == []


def test_a_node_is_drained_without_a_lost_request(
    fleet: Fleet, plane: Plane, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    """While others answer. Where a drain takes all at once, clients are told 404 until the first is back."""
    east, specs = namespaces[0], replicas(4, weights, namespaces[0])
    try:
        open_only(admin, "h100-a")
        fleet.want(specs[:2])
        wait_for(lambda: fleet.are_ready([*specs[:2], fleet.gate]))
        open_only(admin, "h100-b")
        fleet.want(specs)
        wait_for(lambda: fleet.are_ready(specs) and len(fleet.routes()) == 4)
        with asked_all_the_while(fleet) as answers:
            time.sleep(1)
            there = [p.metadata.name for p in admin.list(Pod, namespace=east, fields={"spec.nodeName": "h100-a"})]
            for name in there:
                plane.evict(east, name)
            wait_for(lambda: not list(admin.list(Pod, namespace=east, fields={"spec.nodeName": "h100-a"})))
            time.sleep(1)  # until the keeper has heard of it
            wait_for(lambda: fleet.are_ready(specs) and len(fleet.routes()) == 4)
            time.sleep(1)
    finally:
        open_only(admin, "h100-a", "h100-b")
    print(f"\n{len(there)} of 4 pods evicted, {len(answers)} requests meanwhile")
    assert len(there) == 2
    assert [answer for answer in answers if answer[0] != 200] == []
    fleet.down()
    assert left(admin, east) == []


def test_half_of_a_fleet_in_each_of_two_contexts_changes_its_build_without_a_lost_request(
    fleet: Fleet, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    specs = [replicas(2, weights, namespaces[n])[n] for n in range(2)]
    fleet.want(specs)
    wait_for(lambda: fleet.are_ready([*specs, fleet.gate]) and len(fleet.routes()) == 2)
    assert [list(pods(admin, name)) for name in namespaces] == [["chat-0"], ["chat-1"]]
    changed = [spec.model_copy(update={"context_tokens": 1024}) for spec in specs]
    begun = time.monotonic()
    with asked_all_the_while(fleet) as answers:
        fleet.want(changed)
        wait_for(lambda: fleet.are_ready(changed), 120)
    print(f"\nboth builds changed in {time.monotonic() - begun:.1f} s, {len(answers)} requests meanwhile")
    assert [answer for answer in answers if answer[0] != 200] == []
    fleet.down()
    assert [left(admin, name) for name in namespaces] == [[], []]


def test_a_keeper_killed_at_any_moment_leaves_nothing_double_and_nothing_behind(
    fleet: Fleet, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    east, chance = namespaces[0], random.Random(os.environ.get("POLYFLEET_SEED", "7"))
    for _ in range(20):
        changes = {"context_tokens": chance.choice((1024, 2048))}
        fleet.want(replicas(chance.randint(1, 4), weights, east, **changes), gate=False)
        time.sleep(chance.uniform(0.2, 3.0))
        assert all(len(found) == 1 for found in pods(admin, east).values())
        fleet.kill()
    specs = replicas(3, weights, east)
    fleet.want(specs, gate=False)
    wait_for(lambda: fleet.are_ready(specs) and len(pods(admin, east)) == 3, 45)
    assert {name: len(found) for name, found in pods(admin, east).items()} == {spec.id: 1 for spec in specs}
    fleet.state.close()
    for _ in range(4):
        fleet.keep()
        time.sleep(chance.uniform(0.2, 1.5))
        if fleet.has_ended():  # it was done before the blow fell
            break
        fleet.kill()
    fleet.down()
    assert left(admin, east) == []


def test_of_two_people_who_apply_to_one_namespace_at_once_one_wins_and_the_other_is_told(
    home: Path, tmp_path: Path, plane: Plane, namespaces: tuple[str, str], admin: Client, weights: Path
) -> None:
    east, other = namespaces[0], tmp_path / "other"
    other.mkdir()
    with fleet_of(home, plane, (east,)) as ann, fleet_of(other, plane, (east,)) as bob:
        wanted = {"ann": replicas(2, weights, east, workload="a"), "bob": replicas(2, weights, east, workload="b")}
        ann.want(wanted["ann"], gate=False)
        bob.want(wanted["bob"], gate=False)
        both = {"ann": ann, "bob": bob}
        wait_for(lambda: any(both[name].are_ready(specs) for name, specs in wanted.items()))
        (winner,) = [name for name, specs in wanted.items() if both[name].are_ready(specs)]
        loser = both["bob" if winner == "ann" else "ann"]
        wait_for(lambda: any(r.last_lines for r in loser.state.replicas().values()))
        told = {line for r in loser.state.replicas().values() for line in r.last_lines}
        assert all("holds the fleet of" in line for line in told), told
        assert set(pods(admin, east)) == {spec.id for spec in wanted[winner]}
        both[winner].down()
        waiting = wanted["bob" if winner == "ann" else "ann"]
        wait_for(lambda: loser.are_ready(waiting), 120)  # it gets the namespace once it is free
        loser.down()
    assert left(admin, east) == []
