"""The same requests in every form give the same trace."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from traffic_texts import AZURE, write

from polyfleet.terms.demand import Trace
from polyfleet.traffic import read_trace, scan_trace, summarise
from polyfleet.traffic.source import blocks

# 100 ns ticks, as Azure writes them; times in seconds are exact in binary so that every form can hold them.
TICKS = [0.0, 0.5, 0.5, 2.25, 3600.125, 90_000.0]
LENGTHS = [(374, 44), (2, 1), (1_000_000, 7), (7437, 1899), (91, 16), (512, 512)]


def _azure_time(at_s: float, form: str) -> str:
    day, rest = divmod(at_s, 86_400)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    moment = f"2024-05-{10 + int(day):02d} {int(hour):02d}:{int(minute):02d}:"
    if form == "2023":
        return f"{moment}{second:010.7f}"
    return f"{moment}{second:02.0f}+00:00" if second == int(second) else f"{moment}{second:09.6f}+00:00"


def _texts() -> dict[str, str]:
    rows = list(zip(TICKS, LENGTHS, strict=True))
    azure_head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    return {
        "azure2023.csv": azure_head + "".join(f"{_azure_time(t, '2023')},{i},{o}\n" for t, (i, o) in rows),
        "azure2024.csv": azure_head + "".join(f"{_azure_time(t, '2024')},{i},{o}\n" for t, (i, o) in rows),
        "burstgpt.csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        + "".join(f"{t},GPT-4,{i},{o},{i + o},Conversation log\n" for t, (i, o) in rows),
        "burstgpt3.csv": "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,"
        + "Log Type\n"
        + "".join(f"{t},7,1.5,GPT-4,{i},{o},{i + o},API log\n" for t, (i, o) in rows),
        "mooncake.jsonl": "".join(
            json.dumps({"timestamp": t * 1000, "input_length": i, "output_length": o, "hash_ids": [n]}) + "\n"
            for n, (t, (i, o)) in enumerate(rows)
        ),
        "own.csv": "arrival_s,input_tokens,output_tokens,cached_tokens\n"
        + "".join(f"{t},{i},{o},0\n" for t, (i, o) in rows),
        "semicolons.csv": "output_tokens;arrival_s;input_tokens\n" + "".join(f"{o};{t};{i}\n" for t, (i, o) in rows),
        "quoted.csv": '"arrival_s","input_tokens","output_tokens"\n'
        + "".join(f'"{t}","{i}","{o}"\n' for t, (i, o) in rows),
        "epoch.csv": "timestamp,input_tokens,output_tokens\n"
        + "".join(f"{1_715_299_200 + t},{i},{o}\n" for t, (i, o) in rows),
        "offset.csv": "timestamp,input_tokens,output_tokens\n"
        + "".join(f"{_azure_time(t + 7200, '2023')}+02:00,{i},{o}\n" for t, (i, o) in rows),
        "iso.jsonl": "".join(
            json.dumps(
                {"timestamp": _azure_time(t, "2023").replace(" ", "T") + "Z", "input_tokens": i, "output_tokens": o}
            )
            + "\n"
            for t, (i, o) in rows
        ),
        "own.jsonl": "".join(
            json.dumps({"model": "x", "arrival_s": t, "input_tokens": i, "output_tokens": o}) + "\n"
            for t, (i, o) in rows
        ),
    }


def _check(trace: Trace, dated: bool) -> None:
    np.testing.assert_array_equal(trace.arrival_s, TICKS)
    np.testing.assert_array_equal(trace.input_tokens, [i for i, _ in LENGTHS])
    np.testing.assert_array_equal(trace.output_tokens, [o for _, o in LENGTHS])
    assert not trace.cached_tokens.any()
    assert trace.start == ("2024-05-10T00:00:00.000000000Z" if dated else None)
    assert (trace.dropped, trace.unsorted) == (0, 0)


DATED = {"azure2023.csv", "azure2024.csv", "epoch.csv", "offset.csv", "iso.jsonl"}


@pytest.mark.parametrize("name", sorted(_texts()))
@pytest.mark.parametrize(
    "dress", ["plain", "gzip", "crlf", "bom", "old mac", "mixed ends", "blank lines", "no last end"]
)
def test_every_form_in_every_dress_gives_the_same_trace(tmp_path: Path, name: str, dress: str) -> None:
    text = _texts()[name].encode()
    lines = text.split(b"\n")
    dressed = {
        "plain": text,
        "gzip": gzip.compress(text),
        "crlf": text.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + text,
        "old mac": text.replace(b"\n", b"\r"),
        "mixed ends": b"\r\n".join(lines[:3]) + b"\n" + b"\r".join(lines[3:]),
        "blank lines": b"\n\n" + b"\n\n\n".join(lines) + b"\n \n",
        "no last end": text.rstrip(b"\n"),
    }[dress]
    path = tmp_path / "trace.bin"  # the ending tells nothing: the content does
    path.write_bytes(dressed)
    _check(read_trace(path), name in DATED)


@pytest.mark.parametrize("kind", ["seconds", "dates", "zoned", "text", "narrow"])
def test_parquet_gives_the_same_trace(tmp_path: Path, kind: str) -> None:
    micro = [round(t * 1e6) + 1_715_299_200_000_000 for t in TICKS]
    naive = pl.Series(micro).cast(pl.Datetime("us"))
    time = {
        "seconds": pl.Series(TICKS),
        "dates": naive,
        "zoned": naive.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin"),
        "text": naive.dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
        "narrow": pl.Series(TICKS),
    }[kind]
    lengths = pl.Int32 if kind == "narrow" else pl.Int64
    frame = pl.DataFrame({
        "timestamp": time,
        "input_tokens": pl.Series([i for i, _ in LENGTHS], dtype=lengths),
        "output_tokens": pl.Series([o for _, o in LENGTHS], dtype=lengths),
    })  # fmt: skip
    frame.write_parquet(tmp_path / "trace")
    _check(read_trace(tmp_path / "trace"), kind not in ("seconds", "narrow"))


def test_a_trace_read_in_stretches_is_the_trace_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    at = np.sort(rng.uniform(0, 9000, 5000)).round(3)
    swapped = at.copy()
    swapped[1000], swapped[1001] = at[1001] + 0.5, at[1000]
    text = "arrival_s,input_tokens,output_tokens\n" + "".join(
        f"{t},{i},{o}\n"
        for t, i, o in zip(swapped, rng.integers(1, 9000, 5000), rng.integers(0, 90, 5000), strict=True)
    )
    path = write(tmp_path, text)
    whole = read_trace(path)
    monkeypatch.setattr(blocks, "__defaults__", (2000,))
    parts = list(scan_trace(path))
    assert len(parts) > 20
    for name in ("arrival_s", "input_tokens", "output_tokens"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))
    assert sum(p.dropped for p in parts) == whole.dropped > 0
    assert sum(p.unsorted for p in parts) == whole.unsorted > 0
    by_parts, by_path, by_whole = summarise(iter(parts)), summarise(path), summarise(whole)
    for demand in (by_parts, by_path):
        np.testing.assert_allclose(demand.rate_per_s, by_whole.rate_per_s)
        assert [b.input_tokens for b in demand.buckets] == pytest.approx([b.input_tokens for b in by_whole.buckets])
        assert demand.requests == by_whole.requests
        assert (demand.burstiness, demand.dropped) == (by_whole.burstiness, by_whole.dropped)


def test_equal_leading_hash_ids_are_cached_blocks_of_512_tokens(tmp_path: Path) -> None:
    requests = [
        (1500, [1, 2, 3], 0),  # nothing seen yet
        (1500, [1, 2, 9], 1024),  # two blocks seen, the third not
        (1200, [1, 8, 3], 512),  # a block seen after one that was not does not count
        (1500, [1, 2, 3], 1499),  # all seen: the last token is computed all the same
        (700, [4, 2], 0),
    ]
    text = "".join(
        json.dumps({"timestamp": n, "input_length": i, "output_length": 5, "hash_ids": ids}) + "\n"
        for n, (i, ids, _) in enumerate(requests)
    )
    assert read_trace(write(tmp_path, text)).cached_tokens.tolist() == [c for _, _, c in requests]


def test_a_shuffled_trace_is_put_in_order_and_counted(tmp_path: Path) -> None:
    lines = AZURE.splitlines()
    shuffled = "\n".join([lines[0], *reversed(lines[1:])])
    straight, turned = read_trace(write(tmp_path, AZURE, "a")), read_trace(write(tmp_path, shuffled, "b"))
    np.testing.assert_array_equal(straight.arrival_s, turned.arrival_s)
    np.testing.assert_array_equal(straight.input_tokens, turned.input_tokens)
    assert (straight.unsorted, turned.unsorted) == (0, len(lines) - 2)
    note = next(n for n in summarise(tmp_path / "b").notes if "out of order" in n)
    assert note.startswith(f"{len(lines) - 2} requests")


def test_requests_without_input_or_output_are_left_out_and_counted(tmp_path: Path) -> None:
    text = AZURE + "2023-11-16 18:30:00.0000000,0,5\n2023-11-16 18:30:01.0000000,12,0\n"
    trace = read_trace(write(tmp_path, text))
    assert (trace.requests, trace.dropped) == (4, 2)
    assert any("2 requests (33.3%) without" in n for n in summarise(tmp_path / "trace").notes)
