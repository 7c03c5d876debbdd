"""A whole drill from the command line: engines as processes, a gate of the drill's own, proxies in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from test_processes import kept
from typer.testing import CliRunner, Result

from polyfleet.cli.drill import drill
from polyfleet.drill import play
from polyfleet.drill.faults import Fault
from polyfleet.drill.own_gate import gate_command
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Blow, Course
from polyfleet.errors import InputError, LaunchError
from polyfleet.terms.route import Route, Routes

RELAY = Path(__file__).resolve().parent / "toy_relay.py"
ALL = tuple(Blow(fault) for fault in (Fault.CUT, Fault.GARBLE, Fault.FREEZE))


def toy_command(routes: Path, port: int) -> list[str]:
    return [sys.executable, str(RELAY), str(routes), str(port)]


def routes_of(folder: Path, ports: list[int]) -> Path:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    file = folder / "routes.json"
    routes = tuple(Route(id=f"m-{index}", url=url, served=("mock",)) for index, url in enumerate(urls))
    file.write_text(Routes(routes=routes).model_dump_json())
    return file


def test_a_gate_of_its_own_stands_behind_proxies_and_is_gone_afterwards(tmp_path: Path) -> None:
    started: list[int] = []

    def command(routes: Path, port: int) -> list[str]:
        started.append(port)
        assert not {route["url"] for route in json.loads(routes.read_text())["routes"]} & direct
        return toy_command(routes, port)

    direct: set[str] = set()

    async def run() -> DrillReport:
        async with kept(3) as running:
            direct.update(f"http://127.0.0.1:{port}" for port in running)
            file = routes_of(tmp_path, list(running))
            return await play.behind_own_gate(
                file, Course(ALL, 12, 40, limit_s=30.0, between=(0.1, 0.2)), command=command
            )

    report = asyncio.run(run())
    assert [row.fault for row in report.rows] == ["none", *(blow.fault.value for blow in ALL)]
    assert report.clean, report.rows
    assert all(row.resumed for row in report.rows[1:])

    async def connect() -> None:
        await asyncio.open_connection("127.0.0.1", started[0])

    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        asyncio.run(connect())


def test_a_gate_that_dies_at_start_shows_its_own_words(tmp_path: Path) -> None:
    async def run() -> None:
        await play.behind_own_gate(routes_of(tmp_path, [9]), Course(ALL), command=lambda _routes, _port: dying)

    dying = [sys.executable, "-c", "raise SystemExit('no such thing as a gate')"]
    with pytest.raises(LaunchError, match="no such thing as a gate"):
        asyncio.run(run())


def test_the_gates_command_names_routes_and_port() -> None:
    command = gate_command(Path("r.json"), 8123)
    assert command[1:4] == ["-m", "polyfleet", "gate"]
    assert command[command.index("--port") + 1] == "8123"
    assert command[command.index("--routes") + 1] == "r.json"


@contextlib.contextmanager
def at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POLYFLEET_HOME", str(folder))
    yield


def asked(*options: str) -> Result:
    application = typer.Typer()
    application.command()(drill)
    return CliRunner().invoke(application, list(options))


def test_without_a_fleet_the_drill_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with at(tmp_path, monkeypatch):
        told = asked("--kill", "1")
    assert isinstance(told.exception, InputError)
    assert "polyfleet up" in str(told.exception)


def test_what_a_running_gate_does_not_allow_is_refused(tmp_path: Path) -> None:
    told = asked("--cut", "1", "--endpoint", "http://127.0.0.1:9", "--routes", str(routes_of(tmp_path, [9])))
    assert isinstance(told.exception, InputError)
    assert "leave out --endpoint" in str(told.exception)


def test_a_gate_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    told = asked("--kill", "1", "--endpoint", "http://127.0.0.1:9", "--routes", str(routes_of(tmp_path, [9])))
    assert isinstance(told.exception, LaunchError)
    assert "does not list its models" in str(told.exception)


def test_the_table_and_the_json_show_what_clients_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "gate_command", toy_command)
    report = tmp_path / "report.json"

    async def run() -> Result:
        async with kept(2) as running:
            file = routes_of(tmp_path, list(running))
            options = [
                "--garble",
                "1",
                "--streams",
                "8",
                "--tokens",
                "40",
                "--routes",
                str(file),
                "--json",
                str(report),
            ]
            return await asyncio.to_thread(asked, *options)

    told = asyncio.run(run())
    assert told.exit_code == 0, told.output
    assert "every client read its whole answer" in told.output
    written = json.loads(report.read_text())
    assert written["clean"] is True
    assert [(row["fault"], row["streams"], row["failed"]) for row in written["rows"]] == [
        ("none", 8, 0),
        ("garble", 8, 0),
    ]
