"""The JSON of load generators, in the forms they write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.errors import RowsError
from polyfleet.speed.harness import read_harness_json

CHIP = {"hardware": "H100-SXM", "n_chips": "1", "tp": "1", "engine": "vLLM"}
VLLM = {
    "model_id": "Qwen/Qwen3-8B", "num_prompts": 320, "request_rate": "inf", "max_concurrency": 32, "completed": 320,
    "total_input_tokens": 327_680, "total_output_tokens": 81_920, "output_throughput": 2000.5,
    "mean_ttft_ms": 120.0, "median_ttft_ms": 90.0, "p99_ttft_ms": 400.0,
    "mean_tpot_ms": 12.0, "median_tpot_ms": 11.5, "p99_tpot_ms": 15.0,
}  # fmt: skip
GUIDELLM = {
    "args": {"model": "Qwen/Qwen3-8B"},
    "benchmarks": [
        {"metrics": {
            "prompt_token_count": {"successful": {"mean": 512.0}},
            "output_token_count": {"successful": {"mean": 128.0}},
            "request_concurrency": {"successful": {"mean": 7.9}},
            "output_tokens_per_second": {"successful": {"mean": 900.0}},
            "time_to_first_token_ms": {"successful": {"mean": 60.0, "median": 50.0, "percentiles": {"p99": 200.0}}},
            "inter_token_latency_ms": {"successful": {"mean": 8.0, "median": 7.5, "percentiles": {"p99": 12.0}}},
        }},
        {"metrics": {}},
    ],
}  # fmt: skip
AIPERF = {
    "input_config": {"endpoint": {"model_names": ["Qwen/Qwen3-8B"]}, "loadgen": {"concurrency": 16}},
    "input_sequence_length": {"unit": "tokens", "avg": 550.0},
    "output_sequence_length": {"unit": "tokens", "avg": 150.0},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 1100.0},
    "time_to_first_token": {"unit": "ms", "avg": 70.0, "p50": 65.0, "p99": 180.0},
    "inter_token_latency": {"unit": "ms", "avg": 9.0, "p50": 8.8, "p99": 11.0},
}  # fmt: skip


def cells_of(tmp_path: Path, document: Any, **defaults: str) -> list[dict[str, str]]:
    file = tmp_path / "result.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return [dict(row.cells) for row in read_harness_json(file, CHIP | defaults)]


def test_vllm_bench_serve(tmp_path: Path) -> None:
    (cells,) = cells_of(tmp_path, VLLM)
    assert float(cells["input_len"]) == 1024
    assert float(cells["output_len"]) == 256
    assert float(cells["batch_or_concurrency"]) == 32
    assert (cells["ttft_ms_p50"], cells["tpot_ms_mean"], cells["throughput_output_tok_s"]) == ("90.0", "12.0", "2000.5")
    assert cells["scenario"] == "serving_concurrency"


def test_vllm_at_a_rate_and_appended_line_by_line(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(VLLM | {"request_rate": rate}) for rate in (2.0, 4.0))
    first, second = cells_of(tmp_path, lines)
    assert first["scenario"] == second["scenario"] == "serving_request_rate"
    assert "4.0 req/s" in second["notes"]


def test_guidellm_reads_one_row_per_rate(tmp_path: Path) -> None:
    first, second = cells_of(tmp_path, GUIDELLM)
    assert (first["model"], first["ttft_ms_p50"], first["tpot_ms_p99"]) == ("Qwen/Qwen3-8B", "50.0", "12.0")
    assert float(first["batch_or_concurrency"]) == 7.9
    assert "tpot_ms_p50" not in second


def test_aiperf(tmp_path: Path) -> None:
    (cells,) = cells_of(tmp_path, AIPERF)
    assert (cells["model"], cells["batch_or_concurrency"], cells["tpot_ms_mean"]) == ("Qwen/Qwen3-8B", "16.0", "9.0")


def test_a_file_without_the_chip_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match="hardware"):
        cells_of(tmp_path, VLLM, hardware="")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"a": 1}', "3", "null", "[" * 100_000, '{"benchmarks": []}'])
def test_other_json_is_refused_by_name_of_what_is_known(tmp_path: Path, text: str) -> None:
    with pytest.raises(RowsError, match=r"result\.json"):
        cells_of(tmp_path, text)


_KEYS = sorted({*VLLM, *GUIDELLM, *AIPERF})
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(document=_JSON)
def test_any_json_reads_or_raises_a_rows_error(document: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        found = cells_of(tmp_path_factory.mktemp("json"), document, model="Qwen/Qwen3-8B")
    except RowsError as error:
        found = []
        assert_named(str(error))
    assert all(isinstance(value, str) for cells in found for value in cells.values())


def assert_named(message: str) -> None:
    assert "result.json" in message
