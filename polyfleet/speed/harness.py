"""The JSON that load generators write, as rows.

Known forms: `vllm bench serve --save-result` (one object with `output_throughput` and `median_ttft_ms`), guidellm's
`benchmarks.json` (one object per rate under `benchmarks`), AIPerf's `profile_export_aiperf.json` (one block of
statistics per metric). What they leave out (chip, tp, precision) comes from the caller.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyfleet.errors import RowsError
from polyfleet.files import read_text
from polyfleet.speed.rows import NEEDED, Row

_KNOWN = "vllm bench serve, guidellm (benchmarks.json) or AIPerf (profile_export_aiperf.json)"
_LARGEST_BYTES = 512 * 2**20


def read_harness_json(path: Path, defaults: Mapping[str, str]) -> list[Row]:
    """Rows of one result file; `defaults` fills columns that the file does not state.

    Raises RowsError where the file cannot be read, is of no known form, or still lacks the chip.
    """
    if path.is_file() and path.stat().st_size > _LARGEST_BYTES:
        raise RowsError("larger than 512 MiB", file=str(path), hint="leave the per-request records out")
    text = read_text(path, RowsError)
    rows = [
        Row(line, _checked(dict.fromkeys(NEEDED, "") | dict(defaults) | cells, path, line))
        for line, document in _documents(text, path)
        for cells in _cells(document, path, line)
    ]
    if not rows:
        raise RowsError("holds no result", file=str(path), hint=f"known are {_KNOWN}")
    return rows


def _documents(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """One JSON document, or one a line (`--append-result` writes those)."""
    try:
        yield 1, json.loads(text)
        return
    except (ValueError, RecursionError) as whole:
        lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
        if len(lines) < 2:
            raise RowsError(f"not JSON: {whole}", file=str(path)) from whole
    for number, line in lines:
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RowsError(f"not JSON: {error}", file=str(path), line=number) from error


def _cells(document: Any, path: Path, line: int) -> list[dict[str, str]]:
    if isinstance(document, list):
        return [cells for part in document for cells in _cells(part, path, line)]
    if isinstance(document, dict):
        if isinstance(document.get("benchmarks"), list):
            return [_from_guidellm(b, document) for b in document["benchmarks"] if isinstance(b, dict)]
        if "output_throughput" in document and "completed" in document:
            return [_from_vllm(document)]
        if "output_token_throughput" in document or "time_to_first_token" in document:
            return [_from_aiperf(document)]
    raise RowsError("a result of no known form", file=str(path), line=line, hint=f"known are {_KNOWN}")


def _from_vllm(result: Mapping[str, Any]) -> dict[str, str]:
    completed = _number(result.get("completed"))
    rate = result.get("request_rate")
    paced = isinstance(rate, int | float) and math.isfinite(rate)
    return _filled(
        {
            "model": result.get("model_id"),
            "input_len": _ratio(result.get("total_input_tokens"), completed),
            "output_len": _ratio(result.get("total_output_tokens"), completed),
            "batch_or_concurrency": result.get("max_concurrency"),
            "scenario": "serving_request_rate" if paced else "serving_concurrency",
            "notes": f"request rate {rate} req/s" if paced else "",
            "throughput_output_tok_s": result.get("output_throughput"),
            **{f"ttft_ms_{ours}": result.get(f"{theirs}_ttft_ms") for ours, theirs in _VLLM_STATISTICS},
            **{f"tpot_ms_{ours}": result.get(f"{theirs}_tpot_ms") for ours, theirs in _VLLM_STATISTICS},
        }
    )


_VLLM_STATISTICS = (("p50", "median"), ("mean", "mean"), ("p99", "p99"))


def _from_guidellm(benchmark: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, str]:
    def of(metric: str, statistic: str) -> Any:
        found = _dig(benchmark, "metrics", metric, "successful")
        if not isinstance(found, dict):
            return None
        return found.get(statistic, _dig(found, "percentiles", statistic))

    # guidellm's `time_per_output_token_ms` counts the first token in; the inter-token latency does not.
    return _filled(
        {
            "model": _dig(report, "args", "model") or _dig(benchmark, "config", "model"),
            "input_len": of("prompt_token_count", "mean"),
            "output_len": of("output_token_count", "mean"),
            "batch_or_concurrency": of("request_concurrency", "mean"),
            "scenario": "serving_concurrency",
            "throughput_output_tok_s": of("output_tokens_per_second", "mean"),
            "ttft_ms_p50": of("time_to_first_token_ms", "median"),
            "ttft_ms_mean": of("time_to_first_token_ms", "mean"),
            "ttft_ms_p99": of("time_to_first_token_ms", "p99"),
            "tpot_ms_p50": of("inter_token_latency_ms", "median"),
            "tpot_ms_mean": of("inter_token_latency_ms", "mean"),
            "tpot_ms_p99": of("inter_token_latency_ms", "p99"),
        }
    )


def _from_aiperf(result: Mapping[str, Any]) -> dict[str, str]:
    names = _dig(result, "input_config", "endpoint", "model_names")
    return _filled(
        {
            "model": names[0] if isinstance(names, list) and names else None,
            "input_len": _dig(result, "input_sequence_length", "avg"),
            "output_len": _dig(result, "output_sequence_length", "avg"),
            "batch_or_concurrency": _dig(result, "input_config", "loadgen", "concurrency"),
            "scenario": "serving_concurrency",
            "throughput_output_tok_s": _dig(result, "output_token_throughput", "avg"),
            **{f"ttft_ms_{ours}": _dig(result, "time_to_first_token", theirs) for ours, theirs in _AIPERF_STATISTICS},
            **{f"tpot_ms_{ours}": _dig(result, "inter_token_latency", theirs) for ours, theirs in _AIPERF_STATISTICS},
        }
    )


_AIPERF_STATISTICS = (("p50", "p50"), ("mean", "avg"), ("p99", "p99"))


def _dig(value: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _ratio(total: Any, count: float | None) -> float | None:
    whole = _number(total)
    return None if whole is None or count is None else whole / count


def _filled(cells: Mapping[str, Any]) -> dict[str, str]:
    """Cells as text, those without a value left out."""
    texts = {}
    for name, value in cells.items():
        number = _number(value)
        if number is not None:
            texts[name] = repr(number)
        elif isinstance(value, str) and value:
            texts[name] = value
    return texts


def _checked(cells: dict[str, str], path: Path, line: int) -> dict[str, str]:
    missing = [name for name in ("hardware", "model") if not cells[name]]
    if missing:
        raise RowsError(
            f"the file does not say {' and '.join(missing)}", file=str(path), line=line,
            hint="give it beside the file: hardware, n_chips, tp, engine, weight_dtype, model",
        )  # fmt: skip
    return cells
