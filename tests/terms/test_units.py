"""Quantities as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.terms import units


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_seconds, "50ms", 0.05),
        (units.parse_seconds, "1s", 1.0),
        (units.parse_seconds, " 8 h ", 28800.0),
        (units.parse_seconds, "1d", 86400.0),
        (units.parse_per_second, "25/s", 25.0),
        (units.parse_per_second, "1,500/min", 25.0),
        (units.parse_per_second, "86.4M/day", 1000.0),
        (units.parse_usd_per_month, "3M USD / month", 3e6),
        (units.parse_usd_per_month, "$36M/year", 3e6),
        (units.parse_usd_per_month, "$10/hour", 7300.0),
        (units.parse_share, "60%", 0.6),
        (units.parse_share, 0.6, 0.6),
        (units.parse_factor, "40x", 40.0),
        (units.parse_factor, "1.5", 1.5),
        (units.parse_count, "4e9", 4e9),
        (units.parse_count, "120k", 120e3),
        (units.parse_percentile, "p95", 95.0),
    ],
)
def test_quantities_mean_what_they_say(parse, text, value):
    assert parse(text) == pytest.approx(value)


def test_a_latency_has_a_percentile_and_95_is_the_default():
    assert units.parse_latency("1s p99") == (1000.0, 99.0)
    assert units.parse_latency("50ms") == (50.0, 95.0)


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (units.parse_seconds, "50", "unknown unit"),
        (units.parse_seconds, "-1s", "above zero"),
        (units.parse_seconds, "soon", "not a quantity"),
        (units.parse_per_second, "25", "not a rate"),
        (units.parse_per_second, "25/fortnight", "not a rate"),
        (units.parse_usd_per_month, "3M EUR / month", "unknown unit"),
        (units.parse_usd_per_month, "3M", "not money over time"),
        (units.parse_share, "120%", "more than the whole"),
        (units.parse_factor, "0x", "above zero"),
        (units.parse_count, "1e999", "too large"),
        (units.parse_percentile, "p100", "not a percentile"),
        (units.parse_latency, "50ms p95 p99", "not a latency promise"),
    ],
)
def test_wrong_quantities_say_what_would_be_right(parse, text, says):
    with pytest.raises(ValueError, match=says):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_positive_finite_number_or_a_value_error(text):
    for parse in (units.parse_seconds, units.parse_per_second, units.parse_usd_per_month, units.parse_count):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value > 0
        assert math.isfinite(value)
