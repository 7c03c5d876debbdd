"""One EC2 for all proofs; a home for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from rig import Rig, running
from rig_fleet import Fleet, fleet_of

from polyfleet.launch.weights import find_weights

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("POLYFLEET_RIG", HERE.parents[1] / "build" / "sky")).resolve()


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    if not (FOLDER / "image" / ".done").exists():
        pytest.exit(f"no image in {FOLDER}: run rigs/sky/setup.sh {FOLDER}", 2)
    with running(FOLDER) as made:
        yield made


@pytest.fixture
def fleet(tmp_path: Path, rig: Rig) -> Iterator[Fleet]:
    rig.fail()
    folder = tmp_path / "home"
    folder.mkdir()
    with fleet_of(folder, rig) as made:
        yield made
    for each in rig.instances():  # of a proof that failed
        rig.reclaim(each["id"])


@pytest.fixture(scope="session")
def weights(rig: Rig) -> Path:
    """Where the rig's machines see them, too: their /tmp is their own."""
    folder = rig.folder / "weights"
    folder.mkdir(exist_ok=True)
    return find_weights("polyfleet/tiny", folder)


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client
