"""The spec's text: what it means, and what each mistake says."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.errors import SpecError
from polyfleet.terms.precision import Precision
from polyfleet.terms.spec_text import parse_spec

GOOD = """\
workloads:
  chat:
    model: meta-llama/Llama-3.3-70B-Instruct
    precision: [bf16, fp8]
    traffic: {trace: conv.csv, scale: 40x}
    slo: {ttft: 1s p95, tpot: 50ms p95}
  code:
    model: openai/gpt-oss-120b
    traffic: {rate: 25/s, input: "lognormal(1100, 2.1)", output: 210, shape: weekday}
    slo: {ttft: 2s p99, tpot: 30ms}
  nightly: {model: Qwen/Qwen3-32B, batch: {input_tokens: 4e9, output_tokens: 1e9, every: 1d, within: 8h}}
policy:
  max_share: {provider: 60%, chip_vendor: 60%}
  commit: {max_term: none}
  survive: {lose: [provider, chip_vendor], keep: 100%, slo: 1.5x}
  spot: {max_share: 30%, within: [nightly]}
  regions: [us, eu]
  budget: 3M USD / month
  hosted: allowed
  quotas: {aws: {H100: 64}}
"""


def test_every_part_of_a_spec_is_read():
    spec = parse_spec(GOOD)
    assert spec.workloads["chat"].precision == (Precision.BF16, Precision.FP8)
    assert spec.workloads["chat"].traffic.scale == 40
    assert spec.workloads["code"].slo.slo.ttft_percentile == 99
    assert spec.workloads["code"].slo.slo.tpot_ms == 30
    assert spec.workloads["nightly"].batch.input_tokens == 4e9
    assert spec.workloads["nightly"].batch.within == 8 * 3600
    assert spec.policy.max_share.provider == 0.6
    assert spec.policy.commit.max_term_years == 0
    assert spec.policy.survive.lose == ("provider", "chip_vendor")
    assert spec.policy.spot.within == ("nightly",)
    assert spec.policy.budget == 3e6
    assert spec.policy.quotas == {"aws": {"H100": 64}}


def test_a_spec_in_json_is_the_same_spec():
    text = '{"workloads": {"a": {"model": "m", "traffic": {"rate": "1/s", "input": 10, "output": 10}}}}'
    assert parse_spec(text) == parse_spec("workloads: {a: {model: m, traffic: {rate: 1/s, input: 10, output: 10}}}")


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("budget:", "buget:", 18, "unknown key `policy.buget`; did you mean `budget`?"),
        ("    slo: {ttft: 1s", "    sla: {ttft: 1s", 6, "did you mean `slo`?"),
        ("tpot: 50ms p95", "tpot: -50ms p95", 6, "above zero"),
        ("tpot: 50ms p95", "tpot: 50 p95", 6, "unknown unit"),
        ("scale: 40x", "scale: forty", 5, "not a quantity"),
        ("provider: 60%", "provider: 160%", 13, "more than the whole"),
        ("max_term: none", "max_term: 2y", 14, "'none', '1y' or '3y'"),
        ("lose: [provider, chip_vendor]", "lose: [cloud]", 15, "'provider', 'chip_vendor' or 'region'"),
        ("within: [nightly]", "within: [nigthly]", 16, "is no workload"),
        ("slo: 1.5x", "slo: 0.5x", 15, "at least 1x"),
        ("trace: conv.csv, ", "", 5, "give either `trace` or `rate`"),
        ("within: 8h", "within: 2d", 11, "longer than `every`"),
        ("    model: openai/gpt-oss-120b\n", "", 7, "`workloads.code.model` is missing"),
        ("precision: [bf16, fp8]", "precision: [bf16, fp9]", 4, "must be 'fp32', 'bf16'"),
        ("precision: [bf16, fp8]", "precision: [bf16, nvpf4]", 4, "did you mean `nvfp4`?"),
        ("hosted: allowed", "hosted: Forbiden", 19, "did you mean `forbidden`?"),
        ("rate: 25/s,", "rate: 25/s, scale: 2x,", 9, "`scale` goes with `trace`"),
        ("rate: 25/s,", "rate: 1e8/s,", 9, "must be at most"),
        ("H100: 64", "H100: 1.5", 20, "must be a whole number"),
        ("  code:", '  "":', 7, "1 to 60 printable characters"),
        ("  code:", '  "a\\nb":', 7, "1 to 60 printable characters"),
        ("H100: 64", "H100: -1", 20, "must be at least 0"),
        ("  code:", "  chat:", 7, "stands twice"),
        ("policy:", "policy: [", 12, "not readable as YAML"),
    ],
)
def test_a_mistake_names_its_line_and_what_is_right(old, new, line, says):
    assert old in GOOD
    with pytest.raises(SpecError) as error:
        parse_spec(GOOD.replace(old, new, 1), file="fleet.yaml")
    assert says in str(error.value)
    assert error.value.file == "fleet.yaml"
    if "YAML" not in says:
        assert error.value.line == line


@pytest.mark.parametrize("text", ["", "   \n", "# a comment", "just text", "[1, 2]", "workloads: {}", "policy: {}"])
def test_an_empty_or_shapeless_spec_is_refused(text):
    with pytest.raises(SpecError):
        parse_spec(text)


def test_a_yaml_bomb_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(SpecError, match="too many values"):
        parse_spec("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "line"),
    [("[" * 5000 + "]" * 5000, 1), ("{a: " * 5000 + "1" + "}" * 5000, 1), ("- " * 5000, 1),
     ("\n".join(" " * i + "a:" for i in range(1200)), 25)],
)  # fmt: skip
def test_a_deeply_nested_text_is_refused_before_it_is_read_to_its_end(text, line):
    begun = time.perf_counter()
    with pytest.raises(SpecError, match="nested more than 24 deep") as error:
        parse_spec(text)
    assert error.value.line == line
    assert time.perf_counter() - begun < 2


def test_a_text_of_a_million_values_is_refused_before_it_is_read_to_its_end():
    begun = time.perf_counter()
    with pytest.raises(SpecError, match="too many values"):
        parse_spec("a: [" + "1," * 400_000 + "]")
    assert time.perf_counter() - begun < 10


@given(st.text(max_size=400))
def test_any_text_is_a_spec_or_a_spec_error(text):
    with contextlib.suppress(SpecError):
        assert parse_spec(text).workloads
