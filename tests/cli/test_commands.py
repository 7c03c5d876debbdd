"""The commands as a user meets them: output, exit codes, and what a mistake says."""

import json
import re

import pytest

COMMANDS = ["init", "check", "plan", "why", "compare", "breakeven", "schema", "speed", "calibrate", "demand", "catalog"]

SPEC = """\
workloads:
  chat:
    model: Qwen/Qwen3-8B
    traffic: {rate: 2/s, input: 500, output: 100}
    slo: {ttft: 2s p95, tpot: 60ms p95}
policy: {regions: [us], hosted: forbidden}
"""


def test_help_names_every_command(polyfleet):
    shown = polyfleet("--help")
    assert shown.returncode == 0
    assert all(f" {name} " in shown.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(polyfleet, name):
    shown = polyfleet(name, "--help")
    assert shown.returncode == 0
    assert "Usage" in shown.stdout


def test_init_writes_a_spec_that_is_sound_and_does_not_replace_one(polyfleet, tmp_path):
    assert polyfleet("init").returncode == 0
    assert polyfleet("check", "fleet.yaml").returncode == 0
    before = (tmp_path / "fleet.yaml").read_text()
    again = polyfleet("init")
    assert again.returncode == 2
    assert "there is a file already" in again.stderr
    assert (tmp_path / "fleet.yaml").read_text() == before


def test_check_says_what_is_in_a_spec(polyfleet, tmp_path):
    (tmp_path / "fleet.yaml").write_text(SPEC)
    shown = polyfleet("check", "fleet.yaml")
    assert shown.returncode == 0
    assert "Qwen/Qwen3-8B" in shown.stdout


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8C", 3, "unknown model"),
        ("[us]", "[atlantis]", 6, "unknown region"),
        ("regions: [us]", "quotas: {awz: {H100: 8}}", 6, "unknown provider"),
        ("regions: [us]", "quotas: {aws: {H1000: 8}}", 6, "unknown chip"),
        ("rate: 2/s, input: 500, output: 100", "trace: none.csv", 4, "none.csv"),
        ("ttft: 2s", "ttft: -2s", 5, "above zero"),
        ("tpot", "tpott", 5, "did you mean `tpot`?"),
        ("input: 500", "input: 0", 4, "between 1 and"),
    ],
)
def test_a_wrong_spec_is_one_line_with_its_place_and_exit_code_2(polyfleet, tmp_path, old, new, line, says):
    (tmp_path / "fleet.yaml").write_text(SPEC.replace(old, new))
    for command in ("check", "plan"):
        shown = polyfleet(command, "fleet.yaml")
        assert shown.returncode == 2
        assert len(shown.stderr.strip().splitlines()) == 1
        assert f"fleet.yaml:{line}:" in shown.stderr or "none.csv" in says
        assert says in shown.stderr


@pytest.mark.parametrize("content", ["", "workloads: [", "workloads: {}"])
def test_an_empty_or_broken_spec_is_refused(polyfleet, tmp_path, content):
    (tmp_path / "fleet.yaml").write_text(content)
    shown = polyfleet("plan", "fleet.yaml", "-o", "plan.json")
    assert shown.returncode == 2
    assert not (tmp_path / "plan.json").exists()


def test_a_missing_spec_and_a_folder_are_refused(polyfleet, tmp_path):
    assert "no such file" in polyfleet("plan", "fleet.yaml").stderr
    assert "a folder" in polyfleet("plan", tmp_path).stderr


@pytest.mark.parametrize("document", ["spec", "plan"])
def test_a_schema_is_json(polyfleet, document):
    assert json.loads(polyfleet("schema", document).stdout)["type"] == "object"


@pytest.mark.parametrize("what", ["offers", "chips", "models", "providers"])
def test_the_catalog_lists_and_gives_json_of_the_same(polyfleet, what):
    shown = polyfleet("catalog", what, "--provider", "aws")
    rows = json.loads(polyfleet("catalog", what, "--provider", "aws", "--json").stdout)
    assert shown.returncode == 0
    assert rows
    assert max(len(line) for line in shown.stdout.splitlines()) <= 100


def test_an_unknown_name_in_the_catalog_says_what_is_near(polyfleet):
    shown = polyfleet("catalog", "offers", "--chip", "H10")
    assert shown.returncode == 2
    assert "did you mean" in shown.stderr


def test_demand_shows_a_trace_and_writes_an_offline_page(polyfleet, tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,input_tokens,output_tokens\n0,100,10\n1,200,20\n2,5000,300\n")
    shown = polyfleet("demand", "t.csv", "--html", "t.html")
    assert shown.returncode == 0
    assert "3 requests" in shown.stdout
    page = (tmp_path / "t.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)
    assert json.loads(polyfleet("demand", "t.csv", "--json").stdout)["requests"] == 3
