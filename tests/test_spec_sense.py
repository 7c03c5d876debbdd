"""Specs whose settings contradict each other are refused at their line; settings without effect are told."""

import pytest

from polyfleet import api
from polyfleet.errors import InputError

SERVE = """\
workloads:
  chat:
    model: Qwen/Qwen3-8B
    traffic: {rate: 2/s, input: 500, output: 100}
    slo: {ttft: 2s p95, tpot: 60ms p95}
"""
BATCH = "  nightly: {model: Qwen/Qwen3-32B, batch: {input_tokens: 4e7, output_tokens: 1e7, every: 1d, within: 8h}}\n"
CLOSED = "  closed: {model: anthropic/claude-haiku-4-5, traffic: {rate: 1/s, input: 500, output: 100}}\n"
HEAD = "workloads:\n"


@pytest.fixture
def inputs(tmp_path):
    """What a spec's text names."""

    def load(text: str) -> api.Inputs:
        path = tmp_path / "fleet.yaml"
        path.write_text(text)
        return api.load_inputs(path)

    return load


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (SERVE + "policy:\n  quotas:\n    azure:\n      H100: 64\n      TPU-v6e: 8\n", 10, "azure rents no TPU-v6e"),
        (SERVE + "policy:\n  quotas:\n    gcp: {H200: 8}\n", 8, "did you mean H100-SXM? it rents"),
        (SERVE + "policy:\n  quotas:\n    openai: {H100: 8}\n", 8, "openai rents no chips"),
        (SERVE + "policy:\n  quotas:\n    aws: {}\n", 8, "names no chip"),
        (SERVE + "policy:\n  quotas:\n    aws:\n      H100: 8\n      H100-SXM: 16\n", 10, "names H100-SXM twice"),
        (SERVE + "policy:\n  quotas:\n    aws: {H100: 8}\n    AWS: {H200: 8}\n", 9, "names aws twice"),
        (SERVE.replace("    traffic", "    precision: []\n    traffic"), 4, "allows no format"),
        (HEAD + CLOSED + "policy:\n  hosted: forbidden\n", 4, "only hosts serve anthropic/claude-haiku-4-5"),
        (SERVE + BATCH + "policy:\n  spot:\n    within: [nightly]\n", 9, "none may be bought"),
        (SERVE + "policy:\n  spot: {max_share: 30%, within: []}\n", 7, "the list is empty"),
        (SERVE + "policy:\n  regions: []\n", 7, "the list is empty"),
        (SERVE + "policy:\n  survive: {lose: []}\n", 7, "the list is empty"),
        (SERVE + "policy:\n  survive: {lose: [provider], keep: 0%}\n", 7, "keeps nothing"),
        (SERVE + "policy:\n  max_share: {chip_vendor: 0%}\n", 7, "leaves nobody any traffic"),
        (SERVE.replace("rate: 2/s", "rate: 2/s, scale: 40x"), 4, "`scale` goes with `trace`"),
        (SERVE.replace("rate: 2/s", "rate: 1e5/s, growth: 20x"), 4, "at most 1,000,000/s can be planned"),
        (HEAD + BATCH.replace("4e7", "1e20"), 2, "at most 1,000,000/s can be planned; look at `input_tokens`"),
        (SERVE.replace("Qwen/Qwen3-8B", "claude haiku 4 5"), 3, "did you mean anthropic/claude-haiku-4-5"),
    ],
)
def test_a_contradiction_is_refused_at_its_line(inputs, text, line, says):
    with pytest.raises(InputError) as error:
        inputs(text)
    assert says in str(error.value)
    assert str(error.value.file).endswith("fleet.yaml")
    assert error.value.line == line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SERVE + CLOSED + "policy: {hosted: forbidden}\n", "closed: `hosted: forbidden` cannot hold for it"),
        (HEAD + CLOSED.replace("traffic", "precision: fp8, traffic"), "closed: `precision` has no effect"),
        (HEAD + CLOSED.replace("traffic", "slo: {ttft: 1s}, traffic"), "closed: no host promises the latency"),
        (SERVE + "policy: {spot: {max_share: 30%}}\n", "spot may serve chat"),
        (SERVE + "policy: {hosted: only, quotas: {aws: {H100: 8}}}\n", "`quotas` has no effect under `hosted: only`"),
        (SERVE + "policy: {hosted: only, commit: {max_term: 1y}}\n", "`commit` has no effect"),
        (HEAD + BATCH + "policy: {survive: {lose: [provider]}}\n", "`survive` has no effect: all work is batch"),
        (HEAD + CLOSED + "policy: {survive: {lose: [provider], slo: 2x}}\n", "`survive.slo` has no effect"),
        (SERVE + "policy: {exclude: {provider: aws}, quotas: {aws: {H100: 8}}}\n", "quotas of aws have no effect"),
        (SERVE + "policy: {exclude: {chip: H100}, quotas: {aws: {H100: 8}}}\n", "`exclude` names the chip"),
        (SERVE + "policy: {regions: [sa], quotas: {lambda: {GH200: 8}}}\n", "it rents none in the policy's regions"),
    ],
)
def test_a_setting_without_effect_is_told(inputs, text, says):
    assert any(says in note for note in inputs(text).notes)


@pytest.mark.parametrize(
    "policy",
    [
        "{}",
        "{hosted: forbidden, regions: [us], quotas: {aws: {H100: 8, H200: 0}}}",
        "{spot: {max_share: 30%, within: [nightly]}, survive: {lose: [provider], slo: 2x}, exclude: {chip: []}}",
    ],
)
def test_a_policy_that_means_what_it_says_has_no_notes(inputs, policy):
    assert inputs(SERVE + BATCH + f"policy: {policy}\n").notes == ()


def test_notes_stand_in_the_plan(inputs):
    spec = SERVE.replace("Qwen3-8B", "Qwen3-32B") + "policy: {hosted: only, commit: {max_term: 1y}}\n"
    plan = api.make_plan(inputs(spec))
    assert plan.warnings[0].startswith("chat: no host promises")
    assert any("`commit` has no effect" in warning for warning in plan.warnings)
