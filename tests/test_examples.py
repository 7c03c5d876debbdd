"""Every example runs, and does what its first lines say."""

import importlib.util
from pathlib import Path

import pytest

from polyfleet import api
from polyfleet.cli.main import main
from polyfleet.launch.desired import replicas_of

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def plans():
    return {path.stem: api.make_plan(path, gap=0.03) for path in SPECS}


@pytest.mark.parametrize("name", [path.stem for path in SPECS])
def test_an_example_is_planned_and_keeps_its_caps_and_budget(plans, name):
    policy = api.load_spec(ROOT / "examples" / f"{name}.yaml").spec.policy
    plan = plans[name]
    tokens = {w.name: w.tokens_per_month for w in plan.workloads}
    by_provider: dict[str, float] = {}
    for line in plan.lines:
        by_provider[line.provider] = by_provider.get(line.provider, 0) + line.traffic_share * tokens[line.workload]
    assert max(by_provider.values()) <= (policy.max_share.provider or 1) * sum(tokens.values()) * (1 + 1e-6)
    assert plan.usd_per_month <= (policy.budget or float("inf"))
    assert plan.gap <= 0.05


def test_no_supplier_is_left_out_of_the_losses_that_the_two_models_survive(plans):
    plan = plans["two-models"]
    lost = {(loss.kind, loss.supplier) for loss in plan.losses}
    assert lost >= {("provider", line.provider) for line in plan.lines if line.traffic_share > 0}
    assert lost >= {("chip_vendor", line.chip_vendor) for line in plan.lines if line.traffic_share > 0}


def test_a_closed_model_is_served_by_hosts_alone(plans):
    assert {line.kind for line in plans["closed-model"].lines} == {"hosted"}
    assert len({line.provider for line in plans["closed-model"].lines}) >= 2


def test_the_python_example_shows_that_a_tighter_promise_never_costs_less(capsys):
    spec = importlib.util.spec_from_file_location("python_api", ROOT / "examples" / "python_api.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    cost = example.cost_by_promise(["60ms", "30ms", "2ms"])
    assert cost["60ms"] <= cost["30ms"] * 1.02
    assert cost["2ms"] is None
    assert "nearest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "engines"),
    [("local", ["llama.cpp"] * 3), ("local-vllm", ["vllm-cpu", "llama.cpp", "llama.cpp"])],
)
def test_an_example_of_local_replicas_is_checked_as_up_does_it(name, engines, tmp_path, monkeypatch):
    """Not started: vLLM is not installed everywhere."""
    path = ROOT / "examples" / f"{name}.yaml"
    monkeypatch.setattr("sys.argv", ["polyfleet", "check", str(path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    replicas = replicas_of(api.load_spec(path), tmp_path)
    assert [replica.engine for replica in replicas] == engines
    assert all("polyfleet/tiny" in replica.served for replica in replicas)


def test_the_documented_example_is_the_one_that_runs():
    assert (ROOT / "examples" / "python_api.py").read_text() in (ROOT / "docs" / "python.md").read_text()
