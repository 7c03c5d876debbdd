"""What headers tell of a host's limits. Oracle: values as the hosts' documents show them, and round trips."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.gate.http.rate_limits import MOST_KINDS, Limit, read_told, seconds_from, tells_limits

NOW = 1_750_000_000.0


def read(**headers):
    return read_told([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()], NOW)


def test_openais_form():
    told = read(
        x_ratelimit_limit_requests="60", x_ratelimit_remaining_requests="59", x_ratelimit_reset_requests="1s",
        x_ratelimit_limit_tokens="150000", x_ratelimit_remaining_tokens="149984", x_ratelimit_reset_tokens="6m0s",
    )  # fmt: skip
    assert told.limits == (Limit("requests", 60, 59, 1.0), Limit("tokens", 150_000, 149_984, 360.0))
    assert told.retry_after_s is None


def test_anthropics_form():
    moment = datetime.fromtimestamp(NOW + 30, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = read(
        anthropic_ratelimit_requests_limit="50", anthropic_ratelimit_requests_remaining="0",
        anthropic_ratelimit_requests_reset=moment, anthropic_ratelimit_input_tokens_remaining="1000",
        retry_after="12",
    )  # fmt: skip
    assert told.limits == (Limit("requests", 50, 0, 30.0), Limit("input-tokens", None, 1000, None))
    assert told.retry_after_s == 12


def test_relatives_of_openais_form():
    assert read(x_ratelimit_remaining_requests_day="14399", x_ratelimit_reset_requests_day="33011.38").limits == (
        Limit("requests-day", None, 14_399, 33_011.38),
    )
    assert read(x_ratelimit_limit="600", x_ratelimit_remaining="0", x_ratelimit_reset="1750000007").limits == (
        Limit("requests", 600, 0, 7.0),
    )
    azure = read(x_ratelimit_remaining_requests="99", x_ratelimit_remaining_tokens="9936", retry_after_ms="1500")
    assert azure == ((Limit("requests", None, 99, None), Limit("tokens", None, 9936, None)), 1.5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12), ("6m0s", 360.0), ("2m59.56s", 179.56), ("1h2m3s", 3723.0), ("1d", 86_400.0), ("0", 0.0),
        ("59.70", 59.7), ("1750000060", 60.0), ("1750000060000", 60.0), ("1749999000", 0.0),
        ("2025-06-15T15:07:40Z", 60.0), ("2025-06-15T17:07:40+02:00", 60.0),
        ("", None), ("soon", None), ("-3", None), ("1s2m", None), ("nan", None), ("inf", None), ("9" * 400, None),
        ("1e5", None), ("٣", None),
    ],
)  # fmt: skip
def test_spans_and_moments(text, seconds):
    found = seconds_from(text, NOW)
    assert found == seconds or (seconds is not None and math.isclose(found, seconds))


@given(st.integers(0, 86_400 * 30))
def test_the_same_time_is_read_out_of_every_form(seconds):
    moment = datetime.fromtimestamp(NOW + seconds, UTC)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    span = f"{days}d{hours}h{rest // 60}m{rest % 60}s"
    for text in (span, str(seconds), f"{seconds}s", f"{seconds * 1000}ms", str(int(NOW) + seconds),
                 moment.isoformat(), format_datetime(moment, usegmt=True)):  # fmt: skip
        assert seconds_from(text, NOW) == pytest.approx(seconds, abs=1e-3), text


_NAMES = st.sampled_from(
    [f"x-ratelimit-{what}{kind}" for what in ("limit", "remaining", "reset") for kind in ("", "-requests", "-tokens")]
    + [f"anthropic-ratelimit-{kind}-{what}" for what in ("limit", "remaining", "reset") for kind in ("tokens", "a-b")]
    + ["retry-after", "retry-after-ms", "content-type"]
)
_VALUES = st.one_of(st.binary(max_size=40), st.from_regex(r"[0-9dhms.:TZ+-]{0,30}", fullmatch=True).map(str.encode))


@given(st.lists(st.tuples(st.one_of(_NAMES.map(str.encode), st.binary(max_size=60)), _VALUES), max_size=40))
def test_whatever_a_host_sends_only_sound_figures_are_read(headers):
    told = read_told(headers, NOW)
    figures = [figure for limit in told.limits for figure in limit[1:] if figure is not None]
    if told.retry_after_s is not None:
        figures.append(told.retry_after_s)
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    assert len(told.limits) <= MOST_KINDS
    if told.limits:
        assert tells_limits(headers)


@given(st.lists(st.from_regex(r"[a-z][a-z-]{0,38}", fullmatch=True), min_size=20, max_size=30, unique=True))
def test_no_host_fills_the_memory_with_kinds(kinds):
    headers = [(f"x-ratelimit-remaining-{kind}".encode(), b"1") for kind in kinds]
    assert len(read_told(headers, NOW).limits) == MOST_KINDS
