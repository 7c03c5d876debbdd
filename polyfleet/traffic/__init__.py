"""Traces in, demand out: readers, size buckets, windows, burstiness, generators. No prices, no chips."""

from polyfleet.traffic.describe import QUANTILES, BucketRow, TraceSummary, describe
from polyfleet.traffic.from_rate import demand_from_rate
from polyfleet.traffic.generate import generate
from polyfleet.traffic.read import read_trace, scan_trace
from polyfleet.traffic.reproduce import reproduce
from polyfleet.traffic.shapes import SHAPES, Shape, shape_named
from polyfleet.traffic.summarise import summarise
from polyfleet.traffic.windows import aggregate_windows
from polyfleet.traffic.work import Work

__all__ = [
    "QUANTILES",
    "SHAPES",
    "BucketRow",
    "Shape",
    "TraceSummary",
    "Work",
    "aggregate_windows",
    "demand_from_rate",
    "describe",
    "generate",
    "read_trace",
    "reproduce",
    "scan_trace",
    "shape_named",
    "summarise",
]
