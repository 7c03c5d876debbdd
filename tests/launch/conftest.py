"""Homes whose processes are all gone after a test, whatever it did."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest
from launch_processes import bearing, eventually

from polyfleet.launch.local import LocalDriver, home_hash

# PostgreSQL is started in one way in all tests; a conftest of another folder can only be had by its file.
_OF_KEYS = Path(__file__).parents[1] / "gate" / "keys" / "conftest.py"
_spec = importlib.util.spec_from_file_location("keys_conftest", _OF_KEYS)
_keys = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_keys)
postgres_server, postgres_url = _keys.postgres_server, _keys.postgres_url


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    for pid in bearing(home_hash(folder)):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not bearing(home_hash(folder)))


@pytest.fixture
def driver(home):
    return LocalDriver(home)
