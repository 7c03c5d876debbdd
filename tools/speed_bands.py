"""Bands from left-out rows: how far measurements fall from predictions, by metric and chip family."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from speed_misses import Miss, after_one_row, by

from polyfleet.speed.predict import METRICS

LEAST_GROUPS = 3  # of a family's own band
LEAST_ROWS = 5
DRAWN_GROUPS = 8  # groups at which a family's own band counts half
# A group of n rows counts as n to this power (0: all groups alike), so that neither one sweep nor one odd row makes a
# band. Chosen, like the above, so that shares inside come near 80 %, by family and by source (bands made without it).
GROUP_SHARE = {"throughput": 0.7, "ttft": 0.0, "tpot": 0.85}


def weighted_quantiles(found: Sequence[Miss], shares: Sequence[float]) -> list[float]:
    """Quantiles of measured over predicted; a source x chip x model group counts as `GROUP_SHARE` says."""
    sizes: dict[tuple[str, str, str], int] = defaultdict(int)
    for m in found:
        sizes[m.sample.group] += 1
    ordered = sorted(found, key=lambda m: m.ln)
    weights = np.array([sizes[m.sample.group] ** (GROUP_SHARE[m.metric] - 1) for m in ordered])
    at = (np.cumsum(weights) - weights / 2) / weights.sum()
    return [math.exp(float(np.interp(share, at, [m.ln for m in ordered]))) for share in shares]


def band_rows(sources: Sequence[Miss], families: Sequence[Miss]) -> list[list[str]]:
    """Rows of bands.csv: those of families from rows of sources left out; of families left out for chips without rows;
    of one row of a cell known for the user's own builds."""
    rows = family_rows(sources)
    for metric in METRICS:
        strange = [m for m in families if m.metric == metric]
        rows.append(band_row(metric, "physics", band(strange), strange))
        corrected = after_one_row([m for m in sources if m.metric == metric])
        rows.append(band_row(metric, "own", band(corrected), corrected))
    return rows


def family_rows(sources: Sequence[Miss]) -> list[list[str]]:
    """Each family's own band, drawn towards all families' the more the fewer its groups, and that of all."""
    rows = []
    for metric in METRICS:
        of_metric = [m for m in sources if m.metric == metric]
        pooled = band(of_metric)
        for family, found in by(of_metric, lambda s: s.family).items():
            groups = len({m.sample.group for m in found})
            if groups >= LEAST_GROUPS and len(found) >= LEAST_ROWS:
                share = groups / (groups + DRAWN_GROUPS)
                own = [a**share * b ** (1 - share) for a, b in zip(band(found), pooled, strict=True)]
                rows.append(band_row(metric, f"family={family}", own, found))
        rows.append(band_row(metric, "calibrated", pooled, of_metric))
    return rows


def band(found: Sequence[Miss]) -> list[float]:
    return weighted_quantiles(found, (0.1, 0.9))


def band_row(metric: str, scope: str, factors: Sequence[float], found: Sequence[Miss]) -> list[str]:
    groups = len({m.sample.group for m in found})
    return [metric, scope, f"{factors[0]:.4f}", f"{factors[1]:.4f}", str(groups), str(len(found))]


def limits_of(rows: Sequence[Sequence[str]]) -> dict[tuple[str, str], tuple[float, float]]:
    """Rows of bands.csv by metric and scope."""
    return {(r[0], r[1]): (float(r[2]), float(r[3])) for r in rows}


def is_inside(miss: Miss, limits: Mapping[tuple[str, str], tuple[float, float]]) -> bool:
    """Whether the measurement is in its family's band."""
    low, high = limits.get((miss.metric, f"family={miss.sample.family}"), limits[miss.metric, "calibrated"])
    return math.log(min(low, 1)) <= miss.ln <= math.log(max(high, 1))


def inside(found: Sequence[Miss]) -> str:
    """Share of misses inside their family's band, by family and metric, as a table; its second line counts each source
    against bands made without it."""
    limits = limits_of(family_rows(found))
    known = [(m, is_inside(m, limits)) for m in found]
    strange = []
    for source, members in by(found, lambda s: s.source).items():
        without = limits_of(family_rows([m for m in found if m.sample.source != source]))
        strange += [(m, is_inside(m, without)) for m in members]
    lines = ["| family | throughput | TTFT | TPOT |", "|---|---|---|---|"]
    lines += [_shares("all", known), _shares("all, bands made without the source", strange)]
    families = sorted({m.sample.family for m in found})
    lines += [_shares(name, [(m, hit) for m, hit in known if m.sample.family == name]) for name in families]
    return "\n".join(lines)


def _shares(name: str, hits: Sequence[tuple[Miss, bool]]) -> str:
    cells = []
    for metric in METRICS:
        of_metric = [hit for m, hit in hits if m.metric == metric]
        enough = len(of_metric) >= LEAST_ROWS
        cells.append(f"{100 * sum(of_metric) / len(of_metric):.0f} % of {len(of_metric)}" if enough else "")
    return f"| {name} | " + " | ".join(cells) + " |"
