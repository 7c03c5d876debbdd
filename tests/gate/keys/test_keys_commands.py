"""`polyfleet keys` and `polyfleet usage`, as they are typed."""

import asyncio
import csv
import json

import pytest
import typer
from typer.testing import CliRunner

from polyfleet.cli.keys import keys
from polyfleet.cli.usage import usage
from polyfleet.database import open_database
from polyfleet.errors import InputError
from polyfleet.gate.keys import Door, Estimate, Used


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in a project of its own; gives what it prints."""
    monkeypatch.setenv("POLYFLEET_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POLYFLEET_STATE", raising=False)
    app = typer.Typer()
    app.add_typer(keys, name="keys")
    app.command("usage")(usage)

    def invoke(line):
        result = CliRunner().invoke(app, line.split())
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


def _use(key, url, usd):
    async def scenario():
        engine = open_database(url)
        door = Door(engine)
        await door.start()
        leave = await door.admit(key, "chat", Estimate(100, 50, usd))
        door.settle(leave, Used(leave.key, "chat-0", "chat", "local", 100, 40, usd, "id", 200))
        await door.close()
        engine.dispose()

    asyncio.run(scenario())


def test_a_key_is_made_listed_used_and_revoked(run, tmp_path):
    made = run("keys add alice --budget 50usd --per 30d --rate 600rpm --tokens 100k/min --models chat,embed --admin")
    assert made.startswith("pf-")
    assert made.count("\n") == 1  # the key alone: it can be piped on
    (told,) = json.loads(run("keys list --json"))
    assert {name: told[name] for name in ("name", "models", "admin", "budget_usd", "used_usd", "per_s")} == {
        "name": "alice", "models": ["chat", "embed"], "admin": True, "budget_usd": 50.0, "used_usd": 0.0,
        "per_s": 2_592_000.0,
    }  # fmt: skip
    assert (told["requests_per_min"], told["tokens_per_min"]) == (600, 100_000)
    _use(made.strip(), f"sqlite:///{tmp_path / 'home' / 'state.db'}", 1.25)
    assert "$1.2500" in run("keys list")
    assert "1.250000" in run("usage --by replica --since 7d")
    run("keys revoke alice")
    assert json.loads(run("keys list --json")) == []
    assert "revoked" in run("keys list --revoked")
    assert made.strip()[3:] not in run("keys list --revoked") + run("usage") + run("keys list --revoked --json")


def test_usage_is_exported(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'home' / 'state.db'}"
    for name, usd in (("alice", 0.5), ("=cmd()", 2.0)):
        _use(run(f"keys add {name}").strip(), url, usd)
    run(f"usage --by key --csv {tmp_path / 'usage.csv'}")
    with (tmp_path / "usage.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [(row["key"], row["requests"], float(row["usd"])) for row in rows]
    assert told == [("'=cmd()", "1", 2.0), ("alice", "1", 0.5)]
    assert [row["key"] for row in json.loads(run("usage --json"))] == ["=cmd()", "alice"]


def test_the_state_may_be_in_postgresql(run, postgres_url):
    _use(run(f"keys add alice --budget 2usd --state {postgres_url}").strip(), postgres_url, 0.5)
    assert "$0.5000" in run(f"keys list --state {postgres_url}")
    assert json.loads(run(f"usage --json --state {postgres_url}"))[0]["usd"] == 0.5
    assert json.loads(run("keys list --json")) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("keys add x --budget lots", "--budget: not money"),
        ("keys add x --budget 50eur", "--budget: not money"),
        ("keys add x --budget 0usd", "--budget: not money"),
        ("keys add x --per 30d", "a period without a budget"),
        ("keys add x --budget 5usd --per 30", "--per: unknown unit"),
        ("keys add x --rate 600", "--rate: not a rate"),
        ("keys add x --tokens many/min", "--tokens: not a quantity"),
        ("keys revoke nobody", "there is no such key"),
        ("usage --since 7", "--since: unknown unit"),
        ("usage --csv no/such/folder/x.csv", "its folder does not exist"),
        ("keys list --state sqlite:////no/such/folder/x.db", "cannot be opened"),
        ("keys list --state mysql://u:secret@h/d", "this is no state address"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(run, line, says):
    with pytest.raises(InputError) as told:
        run(line)
    assert says in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("written", "usd"), [("50usd", 50), ("50 USD", 50), ("$1,500", 1500), ("2.5", 2.5), ("1k", 1000), ("3M usd", 3e6)]
)
def test_money_may_be_written_in_many_ways(written, usd):
    from polyfleet.cli.keys import _usd

    assert _usd(written) == usd


@pytest.mark.parametrize(
    ("written", "per_minute"), [("600rpm", 600), ("10/s", 600), ("100k/min", 1e5), ("5k tpm", 5000), ("1.2 RPM", 1.2)]
)
def test_rates_may_be_written_in_many_ways(written, per_minute):
    from polyfleet.cli.keys import _per_minute

    assert _per_minute(written) == pytest.approx(per_minute)


def test_a_change_changes_what_is_given_alone(run):
    run("keys add alice --budget 50usd --per 30d --rate 600rpm --models chat")
    assert run("keys change alice --budget 80usd --tokens 1k/min") == "changed alice\n"
    (told,) = json.loads(run("keys list --json"))
    assert (told["budget_usd"], told["per_s"], told["requests_per_min"]) == (80.0, 2_592_000.0, 600)
    assert (told["tokens_per_min"], told["models"]) == (1000, ["chat"])
    run("keys change alice --rate none --models all --per none")
    (told,) = json.loads(run("keys list --json"))
    assert (told["budget_usd"], told["per_s"], told["requests_per_min"], told["models"]) == (80.0, None, None, [])
