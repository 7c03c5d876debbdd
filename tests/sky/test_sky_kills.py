"""Keepers that end at any moment, one after another, on SkyPilot in memory."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable

import pytest
from sky_toys import FLEET, replica, replica_spec, wait_for

from polyfleet.errors import LaunchError
from polyfleet.launch.sky.driver import SkyDriver
from polyfleet.launch.sky.fake import FakeSky
from polyfleet.launch.sky.names import job_of
from polyfleet.terms.fleet import ReplicaSpec

Make = Callable[[], SkyDriver]


def _reconcile(driver: SkyDriver, wanted: dict[str, ReplicaSpec]) -> None:
    """What a keeper does in one round."""
    with contextlib.suppress(LaunchError):
        found = driver.list()
        for replica_id, alive in found.items():
            if replica_id not in wanted or alive.spec.digest != wanted[replica_id].digest:
                with contextlib.suppress(LaunchError):
                    driver.stop(replica(alive.spec), 1.0)
        for replica_id, spec in wanted.items():
            if replica_id not in found:
                with contextlib.suppress(LaunchError):
                    driver.start(spec)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_there_twice_and_nothing_is_left(make: Make, sky: FakeSky, seed: int) -> None:
    chance = random.Random(seed)
    every = {f"chat-{n}": replica_spec(f"chat-{n}", port=n + 1) for n in range(3)}
    every["chat-3"] = replica_spec("chat-3", port=4, machine="box")
    every["chat-4"] = replica_spec("chat-4", port=5, machine="box")
    for _ in range(6):
        driver = make()
        wanted = {i: spec for i, spec in every.items() if chance.random() < 0.7}
        for _ in range(chance.randint(1, 6)):
            sky.hold.clear() if chance.random() < 0.4 else sky.hold.set()
            sky.lose_job = chance.random() < 0.2
            if chance.random() < 0.2 and sky.clusters:
                with contextlib.suppress(KeyError):
                    sky.reclaim(chance.choice(sorted(sky.clusters)))
            sky.hold.set() if any(i not in wanted for i in driver.list()) else None
            _reconcile(driver, wanted)
            time.sleep(chance.uniform(0, 0.05))
        driver.close()
        sky.hold.set()
    driver, sky.lose_job = make(), False

    def is_so() -> bool:
        _reconcile(driver, every)
        return set(driver.list()) == set(every) and all(alive.url for alive in driver.list().values())

    wait_for(is_so, 20)
    assert sky.live() == {
        **{f"pf-{FLEET}-chat-{n}": [job_of(every[f"chat-{n}"])] for n in range(3)},
        f"pf-{FLEET}-box": sky.live()[f"pf-{FLEET}-box"],
    }
    assert sorted(sky.live()[f"pf-{FLEET}-box"]) == sorted(job_of(every[f"chat-{n}"]) for n in (3, 4))

    def is_empty() -> bool:
        _reconcile(driver, {})
        return not driver.list()

    wait_for(is_empty, 20)
    assert sky.clusters == {}
