"""Talking to SkyPilot's process, with a small one in its place; and to the true one, in a Python without SkyPilot."""

from __future__ import annotations

import importlib.metadata
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyfleet.errors import LaunchError, MissingExtraError
from polyfleet.launch.sky.refusals import AwayError, EngineError, Refusal
from polyfleet.launch.sky.talk import Talk

TOY = Path(__file__).with_name("engine_toy.py")


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path / "sky.log", {"KEY": "sesame"}, engine=TOY)
    yield made
    made.close()


def test_answers_come_to_who_asked_whatever_their_order(talk: Talk) -> None:
    told: dict[str, object] = {}

    def ask(word: str, after_s: float) -> None:
        told[word] = talk.ask("say", 10.0, word=word, after_s=after_s)

    askers = [threading.Thread(target=ask, args=(f"word-{n}", 0.3 - n / 50)) for n in range(10)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert told == {f"word-{n}": f"word-{n}" for n in range(10)}


def test_a_refusal_has_skypilots_type_and_the_clouds_words(talk: Talk) -> None:
    with pytest.raises(EngineError, match="sky: An error occurred") as told:
        talk.ask("refuse", 10.0, words="An error occurred (InsufficientInstanceCapacity)")
    assert (told.value.type, told.value.refusal) == ("ResourcesUnavailableError", Refusal.CAPACITY)


def test_a_process_that_dies_is_told_to_all_who_wait_and_started_anew(talk: Talk) -> None:
    failed: list[AwayError] = []

    def wait() -> None:
        with pytest.raises(AwayError, match="ended") as told:
            talk.ask("hang", 10.0)
        failed.append(told.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert talk.ask("say", 10.0, word="there") == "there"
    with pytest.raises(AwayError):
        talk.ask("die", 10.0)
    waiting.join(10)
    assert [error.can_retry for error in failed] == [True]
    assert talk.ask("say", 10.0, word="again") == "again"


def test_no_answer_in_time_can_be_asked_again(talk: Talk) -> None:
    talk.ask("say", 10.0)
    begun = time.monotonic()
    with pytest.raises(AwayError, match=r"no answer to 'hang' within 0.2 s") as told:
        talk.ask("hang", 0.2)
    assert time.monotonic() - begun < 5
    assert told.value.can_retry


def test_secrets_go_by_environment_under_a_name_that_no_task_of_the_server_inherits(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sesame")
    monkeypatch.setenv("POLYFLEET_STATE", "postgresql://ann:word@db/fleet")
    assert talk.ask("secret", 10.0) == ["sesame", None, None]


def test_a_python_without_skypilot_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_HAS_NO_SKY", "1")
    with pytest.raises(MissingExtraError, match=r"pip install 'polyfleet\[sky\]'.*POLYFLEET_SKY_PYTHON") as told:
        Talk(tmp_path / "sky.log", engine=TOY).ask("say", 10.0)
    assert isinstance(told.value, LaunchError)
    assert (told.value.exit_code, sys.executable in str(told.value)) == (2, True)


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="/nowhere/python cannot be run: No such file"):
        Talk(tmp_path / "sky.log", python="/nowhere/python", engine=TOY).ask("say", 10.0)


def _has_sky() -> bool:
    return any(found.name == "skypilot" for found in importlib.metadata.distributions())


@pytest.mark.skipif(_has_sky(), reason="this Python has SkyPilot")
def test_the_true_process_says_that_this_python_has_no_skypilot(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="No module named 'sky'"):
        Talk(tmp_path / "sky.log", python=sys.executable).ask("hello", 10.0)
