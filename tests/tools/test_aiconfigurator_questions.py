"""How a measured row is put to the peer, judged by the layouts that the sources of the rows describe."""

import pytest
from aiconfigurator_questions import SPECULATIVE, NotCoveredError, batch_of, kv_type, layout, numbers


def row(**cells: str) -> dict[str, str]:
    blank = dict.fromkeys(("n_chips", "tp", "pp", "dp", "ep", "notes", "batch_or_concurrency", "kv_dtype"), "")
    return blank | {"scenario": "serving_concurrency"} | cells


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"n_chips": "8", "tp": "8"}, (8, 1, 1, 1)),
        ({"n_chips": "8", "tp": "1", "dp": "8"}, (1, 1, 1, 8)),  # eight copies
        ({"n_chips": "8", "tp": "2", "pp": "2", "dp": "2"}, (2, 2, 1, 2)),
        ({"n_chips": "4", "tp": "1", "dp": "4", "ep": "4"}, (1, 1, 4, 1)),  # attention-DP over shared experts
        ({"n_chips": "4", "tp": "1", "pp": "2", "dp": "2", "ep": "2"}, (1, 2, 2, 1)),
        ({"n_chips": "72", "tp": "8", "dp": "9", "ep": "8"}, (8, 1, 1, 9)),
        ({"n_chips": "8", "tp": "8", "notes": "recipe sets --ep and enable_attention_dp"}, (1, 1, 8, 1)),
    ],
)
def test_chips_are_shared_out_as_the_source_lays_them(cells: dict[str, str], expected: tuple[int, ...]) -> None:
    assert layout(row(**cells)) == expected


@pytest.mark.parametrize("cells", [{"n_chips": "8"}, {"n_chips": "8", "tp": "3"}, {"n_chips": "8", "tp": "0"}])
def test_a_layout_that_is_unstated_or_does_not_fit_is_not_guessed(cells: dict[str, str]) -> None:
    with pytest.raises(NotCoveredError):
        layout(row(**cells))


def test_concurrency_is_split_over_lanes_and_never_rounds_to_nothing() -> None:
    assert batch_of(row(batch_or_concurrency="128"), 8) == 16
    assert batch_of(row(batch_or_concurrency="2"), 8) == 1


def test_without_concurrency_only_offline_rows_are_asked() -> None:
    assert batch_of(row(scenario="mlperf_offline"), 1) is None
    with pytest.raises(NotCoveredError, match="concurrency"):
        batch_of(row(scenario="mlperf_server"), 1)


@pytest.mark.parametrize("note", ["MTP, 3 speculative tokens", "Eagle3 speculative decoding", "EAGLE 3-1-4"])
def test_speculative_decoding_is_seen_in_the_notes(note: str) -> None:
    assert SPECULATIVE.search(note)


@pytest.mark.parametrize("note", ["no MTP", "no DPA/MTP; engine commit not pinned", "no speculative decoding"])
def test_a_note_that_denies_speculative_decoding_is_believed(note: str) -> None:
    assert not SPECULATIVE.search(note)


def test_the_kv_type_is_the_measured_one_and_else_the_engines() -> None:
    assert kv_type(row(kv_dtype="fp16"), "trtllm", "fp8") == "bfloat16"
    assert kv_type(row(), "trtllm", "fp8") == "fp8"
    assert kv_type(row(), "trtllm", "bfloat16") is None
    assert kv_type(row(), "sglang", "fp8_block") is None


def test_versions_are_compared_number_by_number() -> None:
    assert numbers("1.3.0rc20") > numbers("1.0.0rc3") > numbers("0.14")
