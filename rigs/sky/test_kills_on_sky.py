"""The keeper killed at random moments: nothing is there twice, and in the end nothing is left."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from fleet import EAST, WEST, offer, replica
from rig import Rig, wait_for
from rig_fleet import Fleet

KILLS = int(os.environ.get("POLYFLEET_KILLS", "5"))
_COMES_S = 900.0


def test_a_keeper_killed_at_any_moment_leaves_nothing_double_and_nothing_behind(
    fleet: Fleet, rig: Rig, weights: Path
) -> None:
    chance, begun = random.Random(os.environ.get("POLYFLEET_SEED", "7")), time.monotonic()
    specs = [replica("chat-0", weights, [offer(EAST)]), replica("chat-1", weights, [offer(WEST)])]
    most: dict[str, int] = {}
    for number in range(KILLS):
        fleet.want(specs[: chance.choice((1, 2, 2))], gate=False)
        until = time.monotonic() + chance.uniform(1.0, 75.0)
        while time.monotonic() < until:
            for name, made in rig.machines().items():
                most[name] = max(most.get(name, 0), len(made))
            time.sleep(0.5)
        fleet.kill()
        print(f"\nkill {number + 1} after {time.monotonic() - begun:.0f} s: {sorted(rig.machines())}", end="")
    fleet.want(specs, gate=False)
    wait_for(lambda: fleet.are_ready(specs), _COMES_S)
    print(f"\n{KILLS} kills; ready after {time.monotonic() - begun:.0f} s; machines at most: {most}")
    assert set(most.values()) <= {1}
    assert {name: len(made) for name, made in rig.machines().items()} == {"chat-0": 1, "chat-1": 1}
    for spec in specs:
        assert len(rig.engines(rig.machines()[spec.id][0])) == 1, "a second job beside the first"
    fleet.state.close()
    for _ in range(2):
        fleet.keep()
        time.sleep(chance.uniform(1.0, 40.0))
        if fleet.keeper is not None and fleet.keeper.poll() is None:
            fleet.kill()
    fleet.down()
    assert rig.instances() == []
    assert rig.firewalls() == []
