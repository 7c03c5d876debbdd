"""Measures the reading of traces: rows a second and peak memory on a large made-up trace, and the work that buckets
keep on real ones.

    python tools/bench_traffic.py SCRATCH_FOLDER [--rows 50000000] [--traces FOLDER]

Each measurement runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

FORMS = ("csv", "csv.gz", "jsonl", "parquet")
_CHUNK_ROWS = 2_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scratch", type=Path, help="folder for the made-up trace; about 50 bytes a row and form")
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--forms", nargs="*", default=["csv"], choices=FORMS)
    parser.add_argument("--traces", type=Path, help="folder of real traces to report on")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(options.one)))
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    if options.rows:
        print(f"{'trace':<34}{'rows':>12}{'MB':>8}{'s':>8}{'rows/s':>12}{'peak MB':>9}{'buckets':>9}")
    for form in options.forms if options.rows else ():
        path = options.scratch / f"made_{options.rows}.{form}"
        if not path.exists():
            _write(path, options.rows)
        _report(path)
    if options.traces:
        paths = [p for p in sorted(options.traces.iterdir()) if p.suffix in (".csv", ".jsonl", ".gz", ".parquet")]
        print(f"\n{'trace':<30}{'requests':>9}{'s':>7}{'buckets':>8}{'prefill':>9}{'decode':>8}{'KV':>8}{'64: KV':>8}")
        for path in paths:
            _report_work(path)
        print(f"\n{'reproduced, mean of 20':<30}{'KS input':>9}{'KS out':>8}   dispersion, 1/10/60 s: trace's, its own")
        for path in paths:
            _report_likeness(path)


def _report(path: Path) -> None:
    run = [sys.executable, __file__, "unused", "--one", str(path)]
    found = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    rows, seconds, megabytes = found["rows"], found["seconds"], path.stat().st_size / 1e6
    print(
        f"{path.name:<34}{rows:>12,}{megabytes:>8.0f}{seconds:>8.1f}{rows / seconds:>12,.0f}"
        f"{found['peak_mb']:>9.0f}{found['buckets']:>9}",
        flush=True,
    )


def _measure(path: Path) -> dict[str, float]:
    import resource

    from polyfleet.traffic import summarise

    begin = time.perf_counter()
    demand = summarise(path)
    seconds = time.perf_counter() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": demand.requests, "seconds": seconds, "peak_mb": peak_mb, "buckets": len(demand.buckets)}


def _report_work(path: Path) -> None:
    from polyfleet.traffic import describe

    describe(path)  # the libraries are loaded now
    begin = time.perf_counter()
    found = describe(path)
    seconds = time.perf_counter() - begin
    error, finer = found.work_error, describe(path, buckets=64).work_error
    print(
        f"{path.name:<30}{found.requests:>9,}{seconds:>7.3f}{len(found.buckets):>8}{error.prefill:>9.2%}"
        f"{error.decode:>8.2%}{error.kv_residency:>8.2%}{finer.kv_residency:>8.2%}"
    )


def _report_likeness(path: Path) -> None:
    import numpy as np
    from cut_traces import ks_distance

    from polyfleet.terms.demand import Trace
    from polyfleet.traffic import describe, read_trace, reproduce

    def scales(trace: Trace) -> list[float]:
        found = describe(trace).burstiness
        return [d or float("nan") for d in (found.dispersion_1s, found.dispersion_10s, found.dispersion_60s)]

    trace = read_trace(path)
    made = [reproduce(trace, seed=seed) for seed in range(20)]
    far_in = float(np.mean([ks_distance(trace.input_tokens, m.input_tokens) for m in made]))
    far_out = float(np.mean([ks_distance(trace.output_tokens, m.output_tokens) for m in made]))
    shown = [", ".join(f"{d:.1f}" for d in row) for row in (scales(trace), np.mean([scales(m) for m in made], axis=0))]
    print(f"{path.name:<30}{far_in:>9.3f}{far_out:>8.3f}   {shown[0]}: {shown[1]}")


def _write(path: Path, rows: int) -> None:
    """A week at a steady mean rate in the Azure 2024 form (CSV) or polyfleet's own, lengths lognormal."""
    import gzip

    import numpy as np
    import polars as pl

    rng, step_us, at_us = np.random.default_rng(7), 604_800e6 / rows, 1_715_299_200_000_000
    frames = []
    name = path.name
    with gzip.open(path, "wb", compresslevel=1) if name.endswith(".gz") else path.open("wb") as out:
        for first in range(0, rows, _CHUNK_ROWS):
            count = min(_CHUNK_ROWS, rows - first)
            moments = at_us + np.cumsum(rng.exponential(step_us, count)).astype(np.int64)
            at_us = int(moments[-1])
            inp = np.clip(np.rint(1100 * 2.1 ** rng.standard_normal(count)), 1, None).astype(np.int64)
            outp = np.clip(np.rint(200 * 2.0 ** rng.standard_normal(count)), 1, None).astype(np.int64)
            when = pl.Series("timestamp", moments).cast(pl.Datetime("us", "UTC"))
            frame = pl.DataFrame({"timestamp": when, "input_tokens": inp, "output_tokens": outp})
            if name.endswith("parquet"):
                frames.append(frame)
                continue
            text = frame.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00"))
            if name.endswith("jsonl"):
                out.write(text.write_ndjson().encode())
                continue
            text = text.rename(
                {"timestamp": "TIMESTAMP", "input_tokens": "ContextTokens", "output_tokens": "GeneratedTokens"}
            )
            out.write(text.write_csv(include_header=first == 0).encode())
    if frames:
        pl.concat(frames).write_parquet(path, row_group_size=1_000_000)


if __name__ == "__main__":
    main()
