"""Rows in, points out: every trap of the columns, and no crash on any text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.catalog.chips import find_chip
from polyfleet.catalog.models import find_model
from polyfleet.errors import RowsError
from polyfleet.speed.point import Load, Regime, engine_key, format_key
from polyfleet.speed.row_build import build_of_row, precision_of
from polyfleet.speed.row_load import is_speculative, load_of_row
from polyfleet.speed.rows import NEEDED, Row, read_rows
from polyfleet.speed.table import ADDED, cells_csv, measured_rows, predict_rows, read_user_rows, rows_csv
from polyfleet.terms.build import Build
from polyfleet.terms.precision import Precision

USUAL = {
    "engine": "vLLM", "hardware": "H100-SXM", "n_chips": "1", "tp": "1", "pp": "1", "model": "Qwen/Qwen3-8B",
    "weight_dtype": "bf16", "input_len": "1024", "output_len": "256", "batch_or_concurrency": "16",
    "scenario": "serving_concurrency",
}  # fmt: skip


def a_row(**cells: str) -> Row:
    return Row(2, dict.fromkeys(NEEDED, "") | USUAL | cells)


def build_of(**cells: str) -> tuple[Build, float]:
    row = a_row(**cells)
    return build_of_row(row, find_model(row.text("model")), find_chip(row.text("hardware")))


def load_of(**cells: str) -> Load:
    return load_of_row(a_row(**cells))


@pytest.mark.parametrize(
    ("hardware", "chips", "tp", "expected"),
    [("Inferentia2", "12", "24", 12), ("Trainium1", "16", "32", 16), ("Trainium2", "16", "64", 16),
     ("TPU v7", "4", "8", 4), ("TPU v6e", "4", "4", 4), ("H100-SXM", "8", "8", 8)],
)  # fmt: skip
def test_tp_counts_what_the_vendor_counts(hardware: str, chips: str, tp: str, expected: int) -> None:
    build, replicas = build_of(hardware=hardware, n_chips=chips, tp=tp)
    assert (build.tp, replicas) == (expected, 1)


def test_a_blank_tp_means_several_small_replicas() -> None:
    build, replicas = build_of(n_chips="8", tp="", scenario="mlperf_offline")
    assert (build.tp, replicas) == (1, 8)
    big, count = build_of(n_chips="16", tp="", model="meta-llama/Llama-3.1-405B-Instruct", weight_dtype="fp8")
    assert (big.tp, count) == (8, 2)


def test_nominal_lengths_count_by_the_mean_of_the_range_they_are_drawn_from() -> None:
    drawn = load_of(len_quality="nominal; random-range-ratio 0.8 => mean ~0.9x nominal unless stated")
    assert (drawn.input_tokens, drawn.output_tokens) == pytest.approx((0.9 * 1024, 0.9 * 256))
    exact = load_of(len_quality="exact (random-range-ratio 1.0)")
    assert (exact.input_tokens, exact.output_tokens) == (1024, 256)


def test_dp_of_a_dense_model_counts_replicas() -> None:
    build, replicas = build_of(n_chips="8", tp="1", dp="8")
    assert (build.chips, replicas) == (1, 8)


@pytest.mark.parametrize(
    "cells",
    [{"tp": "1", "dp": "8", "ep": "8", "engine": "TensorRT-LLM"}, {"tp": "8", "dp": "attn-dp", "ep": "8"},
     {"tp": "8", "dp": "8", "ep": "8"}],
)  # fmt: skip
def test_attention_dp_is_one_replica_however_it_is_written(cells: dict[str, str]) -> None:
    build, replicas = build_of(n_chips="8", model="deepseek-ai/DeepSeek-R1", weight_dtype="fp8", **cells)
    assert (build.dp, build.tp, build.ep, replicas) == (8, 1, 8, 1)


@pytest.mark.parametrize(
    ("dtype", "model", "chip", "expected"),
    [("", "Qwen/Qwen3-235B-A22B-FP8", "H100-SXM", Precision.FP8), ("", "openai/gpt-oss-20b", "MI300X", Precision.MXFP4),
     ("bf16 (checkpoint default)", "Qwen/Qwen3-8B", "H100-SXM", Precision.BF16),
     ("fp4", "meta-llama/Llama-3.3-70B-Instruct", "B200", Precision.NVFP4),
     ("fp4", "meta-llama/Llama-3.3-70B-Instruct", "MI355X", Precision.MXFP4),
     ("fp4", "openai/gpt-oss-20b", "B200", Precision.MXFP4), ("int4 (AWQ)", "Qwen/Qwen3-8B", "L4", Precision.INT4)],
)  # fmt: skip
def test_formats_are_read_as_people_write_them(dtype: str, model: str, chip: str, expected: Precision) -> None:
    assert precision_of(dtype, find_model(model), find_chip(chip)) is expected


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(RowsError, match="weight_dtype"):
        precision_of("q4_k_m", find_model("Qwen/Qwen3-8B"), find_chip("L4"))


@pytest.mark.parametrize(
    ("cells", "regime"),
    [({}, Regime.CONCURRENCY), ({"batch_or_concurrency": ""}, Regime.RATE), ({"scenario": "serving_rate"}, Regime.RATE),
     ({"scenario": "offline_max_throughput"}, Regime.SATURATED), ({"scenario": "mlperf_server"}, Regime.PROMISE),
     ({"scenario": "offline_static_batch"}, Regime.STATIC), ({"output_len": "1"}, Regime.STATIC),
     ({"notes": "mean over 15 bursts of 4 simultaneous requests"}, Regime.BURST)],
)  # fmt: skip
def test_a_scenario_says_what_is_held_fixed(cells: dict[str, str], regime: Regime) -> None:
    assert load_of(**cells).regime is regime


def test_notes_tell_rates_batches_and_slots() -> None:
    assert load_of(scenario="serving_rate", notes="seq 4096; 0.55 req/sec offered, 0.49 done").rate_per_s == 0.55
    assert load_of(notes="tp counts cores; compiled batch 32 per replica").compiled_batch == 32
    assert load_of(notes="max-num-seqs 64 caps the batch").slots == 64


@pytest.mark.parametrize(
    ("notes", "expected"),
    [("MTP, 3 speculative tokens", True), ("Eagle3 speculative decoding", True), ("no DPA/MTP", False),
     ("no speculative decoding", False), ("speculative-decoding state not checked", False), ("plain", False)],
)  # fmt: skip
def test_speculative_decoding_is_told_from_its_absence(notes: str, expected: bool) -> None:
    assert is_speculative(a_row(notes=notes)) is expected


def test_engines_are_told_by_their_family() -> None:
    assert engine_key("TensorRT-LLM (Triton)") == "tensorrt-llm"
    assert engine_key("optimum-neuron (vLLM)") == "neuron"
    assert engine_key("vLLM-TPU") == "vllm-tpu"
    assert engine_key("") == "unknown"


def test_formats_without_units_are_unpacked() -> None:
    assert format_key(Precision.FP8, find_chip("A100-SXM-80GB")) == "fp8-unpacked"
    assert format_key(Precision.FP8, find_chip("H100-SXM")) == "fp8"


def test_totals_are_over_all_replicas() -> None:
    one = a_row(batch_or_concurrency="16")
    two = a_row(n_chips="2", dp="2", batch_or_concurrency="32")
    first, second = predict_rows([one, two], find_model, find_chip)
    column = "pred_throughput_output_tok_s"
    assert float(second[column]) == pytest.approx(2 * float(first[column]), rel=1e-5)
    assert second["pred_tpot_ms"] == first["pred_tpot_ms"]


def test_a_row_that_cannot_be_told_says_why_and_the_others_go_on() -> None:
    rows = [
        a_row(),
        a_row(hardware="Abacus 9000"),
        a_row(model="nobody/nothing"),
        a_row(weight_dtype="q4_k_m"),
        a_row(),
    ]
    filled = predict_rows(rows, find_model, find_chip)
    assert [bool(f["why_not"]) for f in filled] == [False, True, True, True, False]
    assert [bool(f["pred_tpot_ms"]) for f in filled] == [True, False, False, False, True]


def test_bands_hold_the_prediction() -> None:
    (filled,) = predict_rows([a_row()], find_model, find_chip)
    for column in ("pred_throughput_output_tok_s", "pred_ttft_ms", "pred_tpot_ms"):
        low, middle, high = (float(filled[column + end]) for end in ("_p10", "", "_p90"))
        assert 0 < low <= middle <= high


def test_missing_columns_are_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("engine,hardware\nvLLM,H100\n")
    with pytest.raises(RowsError, match="n_chips"):
        read_rows(file)
    file.write_text("")
    with pytest.raises(RowsError, match="empty"):
        read_rows(file)
    with pytest.raises(RowsError, match="no such file"):
        read_rows(tmp_path / "none.csv")


def test_cells_survive_a_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    cells = dict(a_row(notes='a "quoted", note').cells)
    file.write_text(cells_csv([cells, cells]))
    assert [dict(row.cells) for row in measured_rows(file)] == [cells, cells]
    header, rows = read_rows(file)
    text = rows_csv(header, predict_rows(rows, find_model, find_chip))
    assert text.splitlines()[0].split(",")[-len(ADDED) :] == list(ADDED)


def test_defaults_fill_only_blank_cells(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(cells_csv([dict(a_row(engine="").cells)]))
    (row,) = measured_rows(file, {"engine": "SGLang", "hardware": "L4"})
    assert (row.text("engine"), row.text("hardware")) == ("SGLang", "H100-SXM")


def test_a_user_row_without_a_figure_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(cells_csv([dict(a_row().cells)]))
    with pytest.raises(RowsError, match=r"rows\.csv:2: no throughput"):
        read_user_rows(file, find_model, find_chip)


@pytest.mark.parametrize(
    ("column", "value"),
    [("input_len", "-5"), ("input_len", "abc"), ("output_len", "nan"), ("tp", "0"), ("tp", "1.5"), ("n_chips", "-8"),
     ("n_chips", "inf"), ("batch_or_concurrency", "-1"), ("batch_or_concurrency", "many"), ("dp", "-2"), ("ep", "x")],
)  # fmt: skip
def test_a_cell_that_nobody_can_mean_is_told_and_never_predicted_from(column: str, value: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(cells_csv([dict(a_row().cells), dict(a_row(**{column: value}).cells), dict(a_row().cells)]))
    first, wrong, last = predict_rows(read_rows(file)[1], find_model, find_chip)
    assert f"line 3: {column} is not a " in wrong["why_not"]
    assert not wrong["pred_tpot_ms"]
    assert first["pred_tpot_ms"] == last["pred_tpot_ms"] != ""


@pytest.mark.parametrize("cells", [{"ep": "0"}, {"pp": "0"}, {"dp": "0"}, {"tp": "1.0"}, {"ttft_ms_mean": "-3"}])
def test_a_zero_of_unused_parallelism_and_a_wrong_measurement_do_not_stop_a_prediction(cells: dict[str, str]) -> None:
    told, plain = predict_rows([a_row(**cells), a_row()], find_model, find_chip)
    assert told["pred_tpot_ms"] == plain["pred_tpot_ms"] != ""


def test_lines_are_counted_through_blank_ones_and_quotes(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    text = cells_csv([dict(a_row(notes="two\nlines").cells), dict(a_row().cells)])
    file.write_text(text.replace("\n", "\n\n", 1))
    assert [row.line for row in read_rows(file)[1]] == [4, 5]


_CELL = st.one_of(
    st.text(max_size=12), st.floats().map(str), st.sampled_from(["", "0", "-1", "1e308", "nan", "8", "attn-dp", "fp8"])
)
_ROW = st.fixed_dictionaries({name: _CELL for name in NEEDED if name not in ("hardware", "model")}).map(
    lambda cells: Row(2, cells | {"hardware": "H100-SXM", "model": "Qwen/Qwen3-8B"})
)


@settings(max_examples=150, deadline=None)
@given(row=_ROW)
def test_any_cells_give_a_prediction_or_a_reason(row: Row) -> None:
    (filled,) = predict_rows([row], find_model, find_chip)
    assert bool(filled["why_not"]) != bool(filled["pred_tpot_ms"])


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_file_reads_or_raises_a_rows_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    file.write_bytes(content)
    try:
        header, _ = read_rows(file)
    except RowsError as error:
        header = list(NEEDED) if "rows.csv" in str(error) else []
    assert set(NEEDED) <= set(header)
