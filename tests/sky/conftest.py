from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sky_toys import FLEET, wait_for

from polyfleet.errors import LaunchError
from polyfleet.launch.sky import bringing, ending, sight
from polyfleet.launch.sky.driver import SkyDriver
from polyfleet.launch.sky.fake import FakeSky

Make = Callable[[], SkyDriver]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of a cloud are hundredths here."""
    for module, name, value in (
        (sight, "_EVERY_S", 0.03), (sight, "_BUSY_EVERY_S", 0.02), (bringing, "_PAUSES_S", (0.02,)),
        (ending, "_KEEP_IDLE_S", 0.5), (ending, "_LOOK_EVERY_S", 0.02),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def sky() -> FakeSky:
    return FakeSky()


@pytest.fixture
def make(sky: FakeSky, tmp_path: Path) -> Iterator[Make]:
    """A driver of the same home each time, as of the next keeper."""
    made: list[SkyDriver] = []

    def one() -> SkyDriver:
        driver = SkyDriver(tmp_path, FLEET, sky)
        made.append(driver)
        wait_for(lambda: sky.away or _has_looked(driver))
        return driver

    yield one
    sky.hold.set()
    for driver in made:
        driver.close()


@pytest.fixture
def driver(make: Make) -> SkyDriver:
    return make()


def _has_looked(driver: SkyDriver) -> bool:
    try:
        driver.list()
    except LaunchError:
        return False
    return True
