"""A fleet on SkyPilot's real engine and an EC2 on loopback: it comes, it loses machines, it goes.

Figures are printed with `-s`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
from fleet import EAST, PORT, WEST, offer, replica
from rig import Rig, wait_for
from rig_fleet import TEXT, Fleet

from polyfleet.terms.fleet import ReplicaSpec

COMES_S = 900.0
_LONG = {"model": "tiny", "prompt": "Once upon a time", "max_tokens": 1800, "temperature": 0}
_STREAMS = 8
_RESUMES = re.compile(r"polyfleet_resumes(_total)?(\{[^}]*\})? ")


def answers(fleet: Fleet, http: httpx2.Client, headers: dict[str, str]) -> bool:
    try:
        return http.post(f"{fleet.url}/completions", json=TEXT, headers=headers).status_code == 200
    except httpx2.HTTPError:
        return False


def test_three_replicas_in_two_regions_come_lose_a_machine_in_mid_stream_and_go_without_a_trace(
    fleet: Fleet, rig: Rig, weights: Path, http: httpx2.Client
) -> None:
    """One is spot; one is refused its first offer for want of capacity; one is planned too cheap."""
    rig.refuse_capacity("m6i.2xlarge")
    specs = [
        replica("chat-0", weights, [offer(EAST, spot=True), offer(WEST, spot=True)]),
        replica("chat-1", weights, [offer(WEST, usd_per_hour=0.05)]),
        replica("chat-2", weights, [offer(EAST, "m6i.2xlarge"), offer(WEST)]),
    ]
    begun = time.monotonic()
    fleet.want(specs)
    headers = fleet.key()
    wait_for(lambda: answers(fleet, http, headers), COMES_S)
    first_s = time.monotonic() - begun
    wait_for(lambda: fleet.are_ready([*specs, fleet.gate]) and len(fleet.routes()) == 3, COMES_S)
    print(f"\nfirst answer {first_s:.1f} s, three replicas {time.monotonic() - begun:.1f} s")
    found = {name: [(m["region"], m["type"], m["spot"]) for m in made] for name, made in rig.machines().items()}
    assert found == {
        "chat-0": [(EAST, "m6i.large", True)],
        "chat-1": [(WEST, "m6i.large", False)],
        "chat-2": [(WEST, "m6i.large", False)],
    }
    kept = {(fact["kind"], fact["offer"]) for fact in fleet.facts()}
    assert kept == {("capacity", specs[2].offers[0].offer), ("price changed", specs[1].offers[0].offer)}

    truth = http.post(f"{fleet.url}/completions", json=_LONG, headers=headers).json()["choices"][0]["text"]
    victim = rig.machines()["chat-0"][0]
    told = _streams(fleet.url, headers, lambda: rig.reclaim(victim["id"]))
    resumed = _resumes(http, fleet)
    cut = sum(text != truth for text in told)
    print(f"{len(told)} streams while a machine was reclaimed: {resumed} resumed elsewhere, {cut} cut")
    assert told == [truth] * _STREAMS
    assert resumed > 0
    begun = time.monotonic()
    wait_for(lambda: any(m["id"] != victim["id"] for m in rig.machines().get("chat-0", ())), COMES_S)
    replaced_s = time.monotonic() - begun
    wait_for(lambda: fleet.are_ready(specs) and len(fleet.routes()) == 3, COMES_S)
    print(f"asked for anew after {replaced_s:.1f} s, ready after {time.monotonic() - begun:.1f} s")
    assert {name: len(made) for name, made in rig.machines().items()} == {spec.id: 1 for spec in specs}
    _go(fleet, rig)


def test_two_replicas_share_a_machine(fleet: Fleet, rig: Rig, weights: Path, http: httpx2.Client) -> None:
    ports = (PORT, PORT + 1)
    specs = [replica(f"chat-{n}", weights, [offer(EAST)], machine="box-0", port=ports[n], ports=ports) for n in (0, 1)]
    begun = time.monotonic()
    fleet.want(specs)
    headers = fleet.key()
    wait_for(lambda: fleet.are_ready(specs) and len(fleet.routes()) == 2, COMES_S)
    print(f"\ntwo on one machine {time.monotonic() - begun:.1f} s")
    assert {name: len(made) for name, made in rig.machines().items()} == {"box-0": 1}
    fleet.want(specs[:1])
    wait_for(lambda: list(fleet.routes()) == ["chat-0"] and "chat-1" not in fleet.replicas(), COMES_S)
    assert {name: len(made) for name, made in rig.machines().items()} == {"box-0": 1}
    wait_for(lambda: answers(fleet, http, headers), 30)
    _go(fleet, rig)


def test_a_machine_whose_job_was_lost_with_the_api_server_is_taken_over(
    fleet: Fleet, rig: Rig, weights: Path, http: httpx2.Client
) -> None:
    spec = replica("chat-0", weights, [offer(EAST)])
    fleet.want([spec])
    wait_for(rig.instances, COMES_S)
    time.sleep(5)  # in the midst of making it a machine of SkyPilot's
    before = rig.machines()
    begun = time.monotonic()
    rig.kill_server()
    wait_for(lambda: fleet.are_ready([spec, fleet.gate]), COMES_S)
    print(f"\nready {time.monotonic() - begun:.1f} s after the API server was killed")
    assert [m["id"] for m in rig.machines()["chat-0"]] == [m["id"] for m in before["chat-0"]]
    wait_for(lambda: answers(fleet, http, fleet.key()), 30)
    _go(fleet, rig)


def test_while_the_cloud_answers_500_nothing_is_half_made_and_afterwards_it_comes(
    fleet: Fleet, rig: Rig, weights: Path
) -> None:
    spec = replica("chat-0", weights, [offer(EAST)])
    rig.fail({
        "Action": ".*", "code": "InternalError", "message": "An internal error has occurred", "count": 100_000,
        "status": "500 Internal Server Error",
    })  # fmt: skip
    fleet.want([spec], gate=False)
    wait_for(fleet.facts, COMES_S)
    assert {fact["kind"] for fact in fleet.facts()} == {"cloud away"}
    wait_for(lambda: any("cloud away" in line for line in _words(fleet, spec)), 60)
    assert rig.instances() == []
    rig.fail()
    begun = time.monotonic()
    wait_for(lambda: fleet.are_ready([spec]), COMES_S)
    print(f"\nready {time.monotonic() - begun:.1f} s after the cloud was back")
    _go(fleet, rig)


def _words(fleet: Fleet, spec: ReplicaSpec) -> Sequence[str]:
    found = fleet.replicas().get(spec.id)
    return found.last_lines if found is not None else ()


def _resumes(http: httpx2.Client, fleet: Fleet) -> int:
    """Streams that the gate went on with on another replica."""
    page = http.get(f"{fleet.url.removesuffix('/v1')}/metrics").text
    return sum(int(float(line.rpartition(" ")[2])) for line in page.splitlines() if _RESUMES.match(line))


def _go(fleet: Fleet, rig: Rig) -> None:
    begun = time.monotonic()
    fleet.down()
    print(f"down {time.monotonic() - begun:.1f} s")
    assert rig.instances() == []
    assert rig.firewalls() == []


def _streams(url: str, headers: dict[str, str], meanwhile: Callable[[], object]) -> list[str]:
    """The texts of several streams at once; `meanwhile` happens once each has begun."""
    begun, told = threading.Barrier(_STREAMS + 1), [""] * _STREAMS

    def read(number: int) -> None:
        with (
            httpx2.Client(timeout=120) as client,
            client.stream("POST", f"{url}/completions", json=_LONG | {"stream": True}, headers=headers) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    is_first = not told[number]
                    told[number] += json.loads(line.removeprefix("data: "))["choices"][0]["text"]
                    if is_first and told[number]:
                        begun.wait(60)

    readers = [threading.Thread(target=read, args=(n,)) for n in range(_STREAMS)]
    for reader in readers:
        reader.start()
    begun.wait(60)
    meanwhile()
    for reader in readers:
        reader.join()
    return told
