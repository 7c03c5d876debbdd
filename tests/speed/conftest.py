from __future__ import annotations

import pytest

from polyfleet.speed.model import SpeedModel, load_speed_model


@pytest.fixture(scope="session")
def speed() -> SpeedModel:
    return load_speed_model()
