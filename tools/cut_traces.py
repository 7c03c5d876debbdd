"""Cuts a short, typical part out of the Azure 2023 traces for the examples.

    python tools/cut_traces.py FOLDER_OF_FULL_TRACES examples/traces

Of all contiguous parts of the stated length that begin at a whole minute, it takes the one most like the whole trace:
the smallest of max(KS distance of input tokens, KS distance of output tokens, |rate / mean rate - 1|). The lines are
copied as they stand, so arrivals, sizes and their order are real.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from polyfleet.terms.demand import Ints, Trace
from polyfleet.traffic import read_trace

CUTS = {"azure_2023_conv.csv": 11, "azure_2023_code.csv": 24}  # minutes: under 150 kB each


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of the full traces")
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    for name, minutes in CUTS.items():
        trace = read_trace(options.source / name)
        starts = range(0, int(trace.duration_s - 60 * minutes), 60)
        begin_s = min(starts, key=lambda start: max(unlikeness(trace, start, 60 * minutes)))
        kept = np.flatnonzero(_within(trace, begin_s, 60 * minutes))
        lines = (options.source / name).read_text().splitlines()
        target = options.target / name.replace(".csv", f"_{minutes}min.csv")
        target.write_text("\n".join([lines[0], *(lines[1 + k] for k in kept)]) + "\n")
        far = ", ".join(f"{v:.3f}" for v in unlikeness(trace, begin_s, 60 * minutes))
        print(f"{target.name}: {len(kept):,} requests from minute {begin_s // 60}; KS input, KS output, rate: {far}")
        means = [(t[kept].mean(), t.mean()) for t in (trace.input_tokens, trace.output_tokens)]
        print(
            "  mean tokens, cut against whole: " + "; ".join(f"{cut:.0f} against {whole:.0f}" for cut, whole in means)
        )


def unlikeness(trace: Trace, begin_s: int, length_s: int) -> tuple[float, float, float]:
    """KS distance of input and of output tokens, and relative distance of the rate, of a part to the whole."""
    part = _within(trace, begin_s, length_s)
    rate = part.sum() / length_s / (trace.requests / trace.duration_s)
    return (
        ks_distance(trace.input_tokens, trace.input_tokens[part]),
        ks_distance(trace.output_tokens, trace.output_tokens[part]),
        abs(float(rate) - 1),
    )


def _within(trace: Trace, begin_s: int, length_s: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray((trace.arrival_s >= begin_s) & (trace.arrival_s < begin_s + length_s))


def ks_distance(a: Ints, b: Ints) -> float:
    """The largest distance between two empirical distribution functions (two-sample Kolmogorov-Smirnov)."""
    at = np.unique(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(x), at, side="right") / max(len(x), 1) for x in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


if __name__ == "__main__":
    main()
