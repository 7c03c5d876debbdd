"""Series as Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from polyfleet.errors import MissingExtraError
from polyfleet.gate.seen.families import FAMILIES, Family
from polyfleet.gate.seen.metrics_file import Series

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text_of(series: Iterable[Series]) -> bytes:
    """The exposition of these series. Raises MissingExtraError where prometheus-client is not installed."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError:
        raise MissingExtraError("metrics need prometheus-client", "serve") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(list(series)))
    return generate_latest(registry)


class _Collector:
    def __init__(self, series: list[Series]) -> None:
        self._by_name: dict[str, list[Series]] = {}
        for one in series:
            self._by_name.setdefault(one.name, []).append(one)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            if family.name in self._by_name:
                yield _metric(family, self._by_name[family.name])


def _metric(family: Family, series: list[Series]) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.told, labels=family.labels)
        for one in series:
            histogram.add_metric(one.labels, _cumulated(family.bounds, one.counts), one.value)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.told, labels=family.labels)
    for one in series:
        metric.add_metric(one.labels, one.value)
    return metric


def _cumulated(bounds: tuple[float, ...], counts: tuple[int, ...]) -> list[tuple[str, float]]:
    rows, total = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        rows.append((bound, float(total)))
    return rows
