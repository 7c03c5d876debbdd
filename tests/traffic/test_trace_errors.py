"""Bad traces are refused with file, line, value and what would be right; any bytes end in a trace or a refusal."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from traffic_texts import AZURE, write

from polyfleet.errors import TraceError
from polyfleet.traffic import read_trace, scan_trace, summarise
from polyfleet.traffic.csv_rows import _by_columns, _by_lines, read_header
from polyfleet.traffic.jsonl_rows import _by_lines as json_by_lines
from polyfleet.traffic.jsonl_rows import block_rows as json_block_rows
from polyfleet.traffic.jsonl_rows import read_form
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.source import Block, blocks

OWN = "arrival_s,input_tokens,output_tokens\n"
LINE = '{"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [1]}\n'
BAD = {
    "empty": ("", None, "empty file"),
    "only blank lines": ("\n \n\r\n", None, "empty file"),
    "header only": (OWN, None, "no requests"),
    "unknown columns": ("a,b,c\n1,2,3\n", 1, "known forms: polyfleet: arrival_s, input_tokens, output_tokens"),
    "no header": ("0.5,12,13\n", 1, "no header"),
    "column twice": ("arrival_s,input_tokens,output_tokens,input_tokens\n1,2,3,4\n", 1, "a column stands twice"),
    "text for a number": (OWN + "0,1,1\n1,many,1\n", 3, "input_tokens is not a number (got 'many')"),
    "nothing for a number": (OWN + "0,1,1\n1,,1\n", 3, "input_tokens is not a number (got 'nothing')"),
    "NaN": (OWN + "0,1,1\n1,5,nan\n", 3, "output_tokens is not a number (got 'nan')"),
    "infinite": (OWN + "0,1,1\ninf,5,1\n", 3, "arrival_s is not a number of seconds (got 'inf')"),
    "negative length": (OWN + "0,1,1\n\n1,5,-7\n", 4, "output_tokens is negative (got '-7')"),
    "half a token": (OWN + "0,1.5,1\n", 2, "input_tokens is not whole (got '1.5')"),
    "too long": (OWN + "0,1e12,1\n", 2, "longer than any context"),
    "negative time": (OWN + "-3,5,1\n", 2, "arrival_s is negative"),
    "milliseconds for seconds": ("timestamp,input_tokens,output_tokens\n1715299200000,5,1\n", 2, "divided by 1000"),
    "two kinds of time": ("timestamp,input_tokens,output_tokens\n5,5,1\n1715299200,5,1\n", 3, "changes its meaning"),
    "impossible date": (AZURE.replace("11-16", "13-16"), 2, "TIMESTAMP is not a date"),
    "cut off": (AZURE[:-7], 5, "fields, the header 3"),
    "thousands separators": (OWN + "0,1,200,3\n", 2, "thousands separators"),
    "all empty requests": (OWN + "0,0,5\n1,5,0\n", None, "all 2 have zero input or output tokens"),
    "more cached than input": (OWN.strip() + ",cached_tokens\n0,5,1,6\n", 2, "cached_tokens exceeds"),
    "not UTF-8": (OWN.encode() + b"0,\xff\xff,1\n", 2, "not UTF-8"),
    "UTF-16": (OWN.encode("utf-16"), None, "UTF-16"),
    "binary": (OWN.encode() + b"0,1,1\n\0\0\0", 3, "binary"),
    "zip": (b"PK\x03\x04....", None, "packed with zip"),
    "JSON array": ('[{"timestamp": 0}]', 1, "JSON array"),
    "half a JSON object": (LINE + LINE[:30], 2, "broken JSON"),
    "JSON of another kind": (LINE + "[1, 2]\n", 2, "no JSON object"),
    "JSON without lengths": ('{"timestamp": 0}\n', 1, "unknown columns"),
    "no length in a later line": (LINE + '{"timestamp": 1, "input_length": 5}\n', 2, "output_length is not a number"),
    "true for a length": (LINE + LINE.replace("5,", "true,"), 2, "input_length is not a number (got True)"),
    "ids that are none": (LINE.replace("[1]", '{"a": 1}'), 1, "hash_ids is no list"),
    "broken Parquet": (b"PAR1" + b"junk" * 9 + b"PAR1", None, "broken Parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_trace_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    content, line, says = BAD[name]
    path = write(tmp_path, content)
    with pytest.raises(TraceError) as refused:
        read_trace(path)
    assert says in str(refused.value)
    assert refused.value.line == line
    assert refused.value.file == str(path)
    with pytest.raises(TraceError) as refused_too:
        summarise(path)
    assert str(refused_too.value) == str(refused.value)


def test_a_missing_trace_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such trace file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="is a folder"):
        read_trace(tmp_path)


@pytest.mark.parametrize("kept", [5, 40, 60, -4])
def test_a_broken_gzip_is_refused(tmp_path: Path, kept: int) -> None:
    with pytest.raises(TraceError, match="gzip"):
        read_trace(write(tmp_path, gzip.compress(AZURE.encode())[:kept]))


def test_an_endless_line_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="too long"):
        list(blocks(write(tmp_path, "x" * 5000), 1000))


def test_a_request_far_out_of_order_is_refused_by_the_stretch_reader_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "__defaults__", (200,))
    path = write(tmp_path, OWN + "".join(f"{t},1,1\n" for t in [*range(100, 200), 5]))
    with pytest.raises(TraceError, match="far out of order") as refused:
        list(scan_trace(path))
    assert refused.value.line == 102
    assert read_trace(path).unsorted == 1
    assert summarise(path).requests == 101


def test_a_trace_of_one_moment_has_no_rate(tmp_path: Path) -> None:
    path = write(tmp_path, OWN + "5,1,1\n5,1,1\n")
    with pytest.raises(TraceError, match="2 request\\(s\\) at a single moment"):
        summarise(path)


def test_times_spread_over_many_years_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, OWN + "".join(f"{n * 10_000_000},1,1\n" for n in range(400)))
    with pytest.raises(TraceError, match="more than two years"):
        summarise(path)


_NUMBERS = st.one_of(
    st.integers(-10, 10**9).map(str),
    st.floats(width=32).map(str),
    st.sampled_from(["", " 7", "+3", "1_0", "0x9", "1e3", '"8"']),
)
_LIKE_A_DATE = r"2024-0?5-1?[0-9]?[ T][0-9]{1,2}:[0-9]{1,2}:[0-9]{0,2}(\.[0-9]*)?[ ]?(Z|[+-][0-9]{2}:?[0-9]{0,2})?"
_TIMES = st.one_of(
    _NUMBERS,
    st.from_regex(_LIKE_A_DATE, fullmatch=True),
    st.sampled_from([
        "2024-05-10 00:00:00", "2024-05-10T00:00:00Z", "2024-05-10 00:00:00.0099301", "2024-5-1 0:0:0", "2024-05-10",
        "2024-05-10 00:00:00+02:00", "2024-05-10 00:00:00-0700", "2024-02-30 00:00:00", "2024-05-10 23:59:60",
        "1969-01-01 00:00:00", "9999-01-01 00:00:00", "١", "2024-05-10 00:00:00.1234567891", "+2024-05-10 00:00:00",
    ]),
)  # fmt: skip


@given(st.lists(st.tuples(_TIMES, _NUMBERS, _NUMBERS), min_size=1, max_size=5))
@example([("2024-05-10 00:00:00", "5", "5"), ("2024-05-10T00:00:00Z", "5", "5")])
@settings(max_examples=300, deadline=None)
def test_the_column_reader_agrees_with_the_line_reader(rows: list[tuple[str, str, str]]) -> None:
    for head in (b"arrival_s,input_tokens,output_tokens", b"timestamp,input_tokens,output_tokens", AZURE[:39].encode()):
        layout = read_header(head.strip(), "f", 1)
        block = Block(2, "".join(",".join(r) + "\n" for r in rows).encode())
        fast = _by_columns(block, layout)
        if fast is not None:
            slow = _by_lines(block, layout)  # raises where the column reader took what it should not
            for name in ("time_ns", "input_tokens", "output_tokens"):
                np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))
            assert fast.dated == slow.dated


_VALUES = st.one_of(
    st.integers(-3, 10**12), st.floats(allow_nan=False), st.none(), st.booleans(), st.text(max_size=4),
    st.just("2024-05-10 00:00:00"), st.lists(st.one_of(st.integers(0, 3), st.none(), st.text(max_size=1)), max_size=3),
)  # fmt: skip
_KEYS = st.sampled_from(["timestamp", "input_length", "output_length", "hash_ids", "input_tokens", "output_tokens"])


@given(st.lists(st.dictionaries(_KEYS, _VALUES), max_size=3))
@settings(max_examples=300, deadline=None)
def test_the_json_column_reader_agrees_with_the_line_reader(records: list[dict[str, object]]) -> None:
    good: dict[str, object] = {"timestamp": 1, "input_length": 7, "output_length": 7, "hash_ids": [1]}
    records = [good | r for r in records]
    block = Block(1, "".join(json.dumps(r) + "\n" for r in [good, *records]).encode())
    form = read_form(json.dumps(good).encode(), "f", 1)
    outcomes = []
    for reader in (json_by_lines, json_block_rows):
        try:
            rows = reader(block, form, "f", PrefixMemory())
            names = ("time_ns", "input_tokens", "output_tokens", "cached_tokens")
            outcomes.append([getattr(rows, name).tolist() for name in names])
        except TraceError as error:
            outcomes.append([str(error)])
    assert outcomes[0] == outcomes[1]


def _trace_or_refusal(path: Path) -> None:
    refusal = None
    try:
        trace = read_trace(path)
    except TraceError as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.startswith(str(path))
        return
    assert trace.requests > 0
    assert trace.arrival_s[0] == 0
    assert (np.diff(trace.arrival_s) >= 0).all()
    assert (trace.input_tokens > 0).all()
    assert (trace.output_tokens > 0).all()
    assert ((trace.cached_tokens >= 0) & (trace.cached_tokens <= trace.input_tokens)).all()


_STARTS = [
    b"",
    OWN.encode(),
    AZURE.encode(),
    LINE.encode(),
    b"\xef\xbb\xbf{",
    b"\x1f\x8b\x08",
    b"Timestamp,Request tokens,Response tokens\n",
]
_ANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(start=st.sampled_from(_STARTS), rest=st.binary(max_size=60), packed=st.booleans())
@_ANY
def test_any_bytes_give_a_trace_or_a_refusal(tmp_path: Path, start: bytes, rest: bytes, packed: bool) -> None:
    content = start + rest
    _trace_or_refusal(write(tmp_path, gzip.compress(content) if packed else content))


@given(start=st.sampled_from(_STARTS), rest=st.text(alphabet='0123456789.,-:+TZ {}[]"\n\r\tae_', max_size=60))
@_ANY
def test_any_text_gives_a_trace_or_a_refusal(tmp_path: Path, start: bytes, rest: str) -> None:
    _trace_or_refusal(write(tmp_path, start + rest.encode()))


@given(place=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.integers(0, 2000))
@settings(_ANY, max_examples=80, derandomize=True)  # rarely, damage makes polars end the process: not ours to catch
def test_damaged_parquet_gives_a_trace_or_a_refusal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], place: int, byte: int, cut: int
) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        pl.DataFrame({"arrival_s": [0.0, 1.0], "input_tokens": [5, 6], "output_tokens": [7, 8]}).write_parquet(whole)
    content = bytearray(whole.read_bytes())
    content[4 + place % (len(content) - 4)] = byte
    _trace_or_refusal(write(tmp_path, bytes(content[: len(content) - cut % 3 * (cut // 3)]) or b"PAR1"))
    capfd.readouterr()


@pytest.mark.parametrize("name", ["input_tokens", "arrival_s"])
def test_a_bad_value_in_parquet_is_refused_with_its_row(tmp_path: Path, name: str) -> None:
    columns: dict[str, list[object]] = {"arrival_s": [0.0, 1.0], "input_tokens": [5, 6], "output_tokens": [7, 8]}
    columns[name] = [1, None]
    pl.DataFrame(columns).write_parquet(tmp_path / "trace")
    with pytest.raises(TraceError, match=f"trace:2: {name} is not a number"):
        read_trace(tmp_path / "trace")
