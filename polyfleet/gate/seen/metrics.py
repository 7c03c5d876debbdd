"""What Prometheus reads: counters and histograms of this worker, and of those beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from polyfleet.gate.pool.meter import Counter, Histogram
from polyfleet.gate.seen.families import BY_NAME, FIRST_BOUNDS_S, GAP_BOUNDS_S
from polyfleet.gate.seen.metrics_file import Series, clear, merged, write_series
from polyfleet.gate.seen.metrics_text import CONTENT_TYPE, text_of

_MOST_SERIES = 5_000
"""Series of one metric; more fall together under the label "other", so that no client can fill the memory."""

Gauge = tuple[str, tuple[str, ...], float]


class RouteMeter(NamedTuple):
    """The measures of one route on the hot path. Who settles a request counts its tokens, the pool the rest."""

    first: Histogram
    gap: Histogram
    input_tokens: Counter
    output_tokens: Counter
    answered: Counter


class Metrics:
    """All measures of one gate process. With `folder`, `render` adds up what all workers wrote there."""

    content_type = CONTENT_TYPE

    def __init__(self, folder: Path | None = None, worker: str = "0") -> None:
        self._folder, self.worker = folder, worker
        self._series: dict[str, dict[tuple[str, ...], Counter | Histogram]] = {name: {} for name in BY_NAME}
        self._sources: list[Callable[[], Iterable[Gauge]]] = []

    # counting

    def counter(self, name: str, *labels: str) -> Counter:
        """The counter of these labels, to keep where it is counted often."""
        found = self._find(name, labels)
        assert isinstance(found, Counter)
        return found

    def histogram(self, name: str, *labels: str) -> Histogram:
        """The histogram of these labels."""
        found = self._find(name, labels)
        assert isinstance(found, Histogram)
        return found

    def _find(self, name: str, labels: tuple[str, ...]) -> Counter | Histogram:
        series = self._series[name]
        found = series.get(labels)
        if found is None:
            if len(series) >= _MOST_SERIES:
                labels = ("other",) * len(labels)
            family = BY_NAME[name]
            new = Histogram(family.bounds) if family.kind == "histogram" else Counter()
            found = series.setdefault(labels, new)
        return found

    def route(self, route_id: str) -> RouteMeter:
        """The measures of a route; the same ones for its whole life, whatever its address."""
        return RouteMeter(
            self.histogram("polyfleet_ttft_seconds", route_id),
            self.histogram("polyfleet_inter_token_seconds", route_id),
            self.counter("polyfleet_tokens", route_id, "input"),
            self.counter("polyfleet_tokens", route_id, "output"),
            self.counter("polyfleet_attempts", route_id, "ok"),
        )

    def answered(self, model: str, status: int, seconds: float) -> None:
        """A request is over. `model` empty where the client asked for one that there is not."""
        self.counter("polyfleet_requests", model, str(status)).value += 1
        self.histogram("polyfleet_request_seconds", model).observe(seconds)

    def retried(self, model: str, reason: str) -> None:
        """A request is sent again before its first byte."""
        self.counter("polyfleet_retries", model, reason).value += 1

    def resumed(self, model: str, source: str, target: str) -> None:
        """A stream goes on from route `source` on route `target`."""
        self.counter("polyfleet_resumes", model, source, target).value += 1

    def poisoned(self, model: str) -> None:
        """A request is given up because replicas die of it."""
        self.counter("polyfleet_poisoned", model).value += 1

    def refused(self, model: str, code: str) -> None:
        """The gate itself said no."""
        self.counter("polyfleet_refusals", model, code).value += 1

    def spent(self, route_id: str, provider: str, usd: float) -> None:
        """What an answer cost at the offer's price."""
        self.counter("polyfleet_spend_usd", route_id, provider).value += usd

    def ejected(self, route_id: str, reason: str) -> None:
        """A route is taken out."""
        self.counter("polyfleet_ejections", route_id, reason).value += 1

    def held(self, route_id: str, reason: str) -> None:
        """A route is held back."""
        self.counter("polyfleet_holds", route_id, reason).value += 1

    def attempted(self, route_id: str, outcome: str) -> None:
        """An attempt on a route ended."""
        self.counter("polyfleet_attempts", route_id, outcome).value += 1

    def watch(self, source: Callable[[], Iterable[Gauge]]) -> None:
        """Ask `source` for gauges (name, labels, value) whenever the metrics are read."""
        self._sources.append(source)

    # reading

    def series(self) -> list[Series]:
        """Everything that this worker measured."""
        told: list[Series] = []
        for name, by_labels in self._series.items():
            for labels, found in by_labels.items():
                if isinstance(found, Histogram):
                    told.append(Series(name, labels, found.total, tuple(found.counts)))
                else:
                    told.append(Series(name, labels, found.value))
        for source in self._sources:
            told.extend(Series(name, labels, value) for name, labels, value in source())
        return told

    def render(self) -> bytes:
        """Prometheus' text of this worker, or of all of them where there is a folder. Raises MissingExtraError."""
        if self._folder is None:
            return text_of(self.series())
        return text_of(merged(self._folder, self.worker, self.series()))

    def write(self) -> None:
        """Let the other workers see this one's measures. A full disk is no reason to stop serving."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                write_series(self._folder, self.worker, self.series())

    async def run(self, every_s: float = 1.0) -> None:
        """Write until cancelled, and once more then."""
        try:
            while True:
                self.write()
                await asyncio.sleep(every_s)
        finally:
            self.write()

    @staticmethod
    def clear(folder: Path) -> None:
        """Forget what earlier workers wrote: once, before the first worker starts."""
        clear(folder)


__all__ = ["FIRST_BOUNDS_S", "GAP_BOUNDS_S", "Gauge", "Metrics", "RouteMeter"]
