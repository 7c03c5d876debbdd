"""A keeper, and the gate below it, know the keys that they were started with."""

import os
import subprocess

import pytest
from launch_processes import toy

from polyfleet.errors import LaunchError
from polyfleet.launch import control, processes
from polyfleet.launch.home import Home
from polyfleet.settings import Settings


@pytest.fixture
def keeper(monkeypatch):
    """A process with KEY=old, taken for the keeper."""
    environment = os.environ | {"KEY": "old"}
    with subprocess.Popen(["sleep", "60"], env=environment) as process:
        processes._wait_for_environment(process.pid)
        monkeypatch.setattr(control, "keeper_pid", lambda _folder: process.pid)
        monkeypatch.setattr(control, "keeper_runs", lambda _home: True)
        yield process
        process.kill()


def asked(tmp_path, *specs):
    control.require_same_keys(Home.of(Settings(tmp_path)), specs)


@pytest.mark.usefixtures("keeper")
def test_a_key_that_was_changed_since_the_keeper_started_is_told(tmp_path, monkeypatch):
    uses, plain = toy("chat-0", key_env="KEY"), toy("chat-1")
    monkeypatch.setenv("KEY", "old")
    asked(tmp_path, uses, plain)
    monkeypatch.setenv("KEY", "new")
    asked(tmp_path, plain)
    with pytest.raises(LaunchError, match="another KEY than is set now") as told:
        asked(tmp_path, uses)
    assert "old" not in str(told.value)
    assert "new" not in str(told.value)
    monkeypatch.delenv("KEY")
    with pytest.raises(LaunchError, match="another KEY"):
        asked(tmp_path, uses)


@pytest.mark.usefixtures("keeper")
def test_where_no_keeper_runs_there_is_nothing_to_differ_from(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "keeper_runs", lambda _home: False)
    monkeypatch.setenv("KEY", "new")
    asked(tmp_path, toy("chat-0", key_env="KEY"))
