"""What SkyPilot's errors mean: on texts that its engine (0.14.1) truly wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sky_toys import offer

from polyfleet.launch.sky.refusal_book import RefusalBook
from polyfleet.launch.sky.refusals import AwayError, EngineError, Fact, Refusal, fact_of, passes

RECORDED = json.loads(Path(__file__).with_name("recorded_refusals.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
def test_a_refusal_that_skypilot_truly_gave_is_understood_in_one_line_with_what_to_do(name: str) -> None:
    told = RECORDED[name]
    error = EngineError(told["kind"], told["words"])
    assert error.refusal.value == told["means"]
    line = fact_of(error, "aws:us-east-1:m6i.large:spot", 0.0).line
    assert line.startswith(f"aws:us-east-1:m6i.large:spot: {told['means']}: {told['says']}")
    assert "\n" not in line


@given(st.text(), st.text(), st.text())
def test_whatever_is_said_is_some_refusal_in_one_line(kind: str, message: str, said: str) -> None:
    error = EngineError.of({"kind": kind, "message": message, "said": said})
    assert isinstance(error.refusal, Refusal)
    assert len(str(error).splitlines()) <= 1


def test_no_answer_from_skypilot_is_a_cloud_that_is_away() -> None:
    fact = fact_of(AwayError("sky: no answer"), "x", 1.0)
    assert (fact.kind, passes([fact])) == (Refusal.AWAY, True)


@pytest.mark.parametrize(("kind", "may_pass"), [(kind, kind in (Refusal.CAPACITY, Refusal.AWAY)) for kind in Refusal])
def test_waiting_cures_want_of_capacity_and_clouds_that_are_away_and_nothing_else(
    kind: Refusal, may_pass: bool
) -> None:
    assert passes([Fact(0.0, "x", kind, "")]) is may_pass


def test_facts_are_there_for_the_next_keeper_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "refusals.jsonl"
    book = RefusalBook(path)
    for number in range(1_700):
        book.note(Fact(float(number), f"offer-{number}", Refusal.CAPACITY, "none"))
    assert len(path.read_text().splitlines()) < 1_000
    kept = RefusalBook(path).all()
    assert len(kept) <= 500
    assert kept[-1] == Fact(1_699.0, "offer-1699", Refusal.CAPACITY, "none")


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_lines_that_cannot_be_read_are_left_out(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("book") / "refusals.jsonl"
    good = Fact(1.0, "x", Refusal.QUOTA, "none")
    RefusalBook(path).note(good)
    path.write_bytes(b"\n".join([*lines, path.read_bytes()]))
    assert RefusalBook(path).all()[-1] == good


def test_what_was_refused_for_capacity_or_quota_comes_last_for_ten_minutes(tmp_path: Path) -> None:
    offers = [offer("a"), offer("b"), offer("c")]
    book = RefusalBook(tmp_path / "refusals.jsonl")
    book.note(Fact(1000.0, offers[0].offer, Refusal.CAPACITY, ""))
    book.note(Fact(1000.0, offers[1].offer, Refusal.AWAY, ""))
    assert book.ordered(offers, 1599.0) == [offers[1], offers[2], offers[0]]
    assert book.ordered(offers, 1600.0) == offers


def test_an_api_server_that_was_killed_is_no_clouds_refusal() -> None:
    words = "HTTPConnectionPool(host='127.0.0.1', port=46580): Max retries exceeded with url: /api/stream"
    error = EngineError("ConnectionError", words)
    assert error.is_skypilots
    assert error.refusal is Refusal.AWAY
    assert str(error) == "sky: SkyPilot's API server does not answer (ConnectionError)"
