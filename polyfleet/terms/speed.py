"""How fast a build is."""

from __future__ import annotations

from dataclasses import dataclass

from polyfleet.terms.evidence import Band, Evidence


@dataclass(frozen=True, slots=True)
class Performance:
    """One replica at a steady concurrency: output tokens per second of the whole replica, mean TTFT and TPOT."""

    concurrency: float
    output_tokens_per_s: Band
    ttft_ms: Band
    tpot_ms: Band
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Speed:
    """The highest load of one size bucket that one replica sustains under an SLO.

    `requests_per_s` is 0 in all three of its figures where the promise cannot be kept at any load; `why_not` then
    says what fails. `concurrency`, `ttft_ms`, `tpot_ms` describe the replica at that load (at the SLO's percentiles).
    """

    requests_per_s: Band
    concurrency: float
    ttft_ms: float
    tpot_ms: float
    evidence: Evidence
    why_not: str = ""
