"""Demand from a stated rate, without sampling."""

from __future__ import annotations

import math

import numpy as np

from polyfleet.terms.demand import Demand, Floats, Ints
from polyfleet.terms.lengths import Lengths
from polyfleet.traffic.buckets import WORK_TOLERANCE, choose_buckets
from polyfleet.traffic.shapes import Shape, shape_named
from polyfleet.traffic.sketch import AXIS_CELLS, CACHED_CELLS, CELLS_PER_OCTAVE, Moments


def demand_from_rate(
    rate_per_s: float,
    input_lengths: Lengths,
    output_lengths: Lengths,
    shape: Shape | str = "flat",
    *,
    buckets: int | None = None,
    dispersion: float = 1.0,
    tolerance: float = WORK_TOLERANCE,
) -> Demand:
    """The demand of `rate_per_s` requests on average, lengths independent, in closed form: no sampling noise.

    `buckets` and `tolerance` as in `summarise`. Raises ValueError for a rate or a count out of range.
    """
    if not (0 < rate_per_s < math.inf):
        raise ValueError(f"the rate must be positive and finite, not {rate_per_s}")
    if buckets is not None and buckets < 1:
        raise ValueError(f"at least one bucket is needed, not {buckets}")
    shape = shape_named(shape) if isinstance(shape, str) else shape
    moments, cells = _moments(input_lengths, output_lengths)
    found = choose_buckets(moments, cells, buckets, tolerance)
    share = found.sums[0] / found.sums[0].sum()
    return Demand(
        shape.windows,
        found.buckets,
        rate_per_s * np.outer(shape.factors, share),
        dispersion,
        f"{rate_per_s:g}/s, input {input_lengths}, output {output_lengths}, {shape.name}",
        work_error=found.error.largest,
    )


def _moments(input_lengths: Lengths, output_lengths: Lengths) -> tuple[Moments, Ints]:
    """Moments of one request over the cells of the histogram: products, since the lengths are independent."""
    in_cell, (p_in, in1, in2) = _cells(input_lengths)
    out_cell, (p_out, out1, out2) = _cells(output_lengths)
    both = [np.outer(a, b).ravel() for a, b in ((p_in, p_out), (in1, p_out), (p_in, out1), (in2, p_out), (p_in, out2))]
    none = np.zeros(len(both[0]))
    moments = Moments(both[0], both[1], both[2], none, both[3], both[4], none, np.outer(in1, out1).ravel())
    return moments, (in_cell[:, None] * AXIS_CELLS + out_cell[None, :]).ravel() * CACHED_CELLS


def _cells(lengths: Lengths) -> tuple[Ints, tuple[Floats, Floats, Floats]]:
    edges = 2.0 ** (np.arange(AXIS_CELLS + 1) / CELLS_PER_OCTAVE)
    edges[0], edges[-1] = 0.0, math.inf
    moments = lengths.partial_moments(edges)
    held = np.flatnonzero(moments[0] > 1e-12)
    return held, (moments[0][held], moments[1][held], moments[2][held])
