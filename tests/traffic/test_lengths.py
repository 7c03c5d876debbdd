"""Length distributions: parsing, closed-form moments against sampling, bad text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polyfleet.terms.lengths import Lengths, parse_lengths


@pytest.mark.parametrize(
    ("text", "meant"),
    [("210", Lengths.fixed(210)), (210, Lengths.fixed(210)), (" 1.5k ", Lengths.fixed(1500)),
     ("fixed(7)", Lengths.fixed(7)),
     ("lognormal(1100, 2.1)", Lengths.lognormal(1100, 2.1)), ("LogNormal( 1.1k ,2 )", Lengths.lognormal(1100, 2)),
     ("uniform(10, 500)", Lengths.uniform(10, 500)), ("1e6", Lengths.fixed(1e6)), ("1_000", Lengths.fixed(1000))],
)  # fmt: skip
def test_lengths_are_read_as_people_write_them(text: str | float, meant: Lengths) -> None:
    assert parse_lengths(text) == meant
    assert parse_lengths(str(meant)) == meant


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no length"), ("many", "no length"), ("-5", "no length"), (0, "between 1"), (float("nan"), "between 1"),
     (True, "no length"), ("0_", "no length"),
     ("lognormal(1100)", "takes 2 numbers, not 1"), ("lognormal(1100, 0.7)", "geometric standard deviation, above 1"),
     ("uniform(500, 10)", "low end below"), ("normal(5, 2)", "unknown distribution 'normal'"),
     ("uniform(1, x)", "no length"),
     ("lognormal(1100, 2.1", "no length"), ("1e12", "between 1")],
)  # fmt: skip
def test_wrong_lengths_are_refused_with_what_would_be_right(text: str | float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_lengths(text)


@given(st.text(alphabet="0123456789.,()ekm_- lognrmauif", max_size=25))
def test_any_text_is_lengths_or_a_value_error(text: str) -> None:
    refusal = ""
    try:
        found = parse_lengths(text)
    except ValueError as error:
        refusal = str(error)
    assert "lognormal" in refusal or "uniform" in refusal if refusal else found.mean >= 1


@pytest.mark.parametrize(
    ("lengths", "oracle"),
    [
        (Lengths.lognormal(1100, 2.1), stats.lognorm(s=np.log(2.1), scale=1100)),
        (Lengths.uniform(10, 500), stats.uniform(10, 490)),
    ],
)
def test_partial_moments_are_those_of_scipy(lengths: Lengths, oracle: stats.rv_continuous) -> None:
    edges = np.array([1.0, 100, 300, 2000, 9000])
    for k, found in enumerate(lengths.partial_moments(edges)):
        expected = [oracle.expect(lambda x, k=k: x**k, lb=a, ub=b) for a, b in pairwise(edges)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert lengths.mean == pytest.approx(oracle.mean())


@pytest.mark.parametrize(
    "lengths",
    [
        Lengths.fixed(42),
        Lengths.lognormal(1100, 2.1),
        Lengths.uniform(10, 500),
        Lengths.empirical(np.array([3, 9, 9, 70])),
    ],
)
def test_samples_follow_the_distribution(lengths: Lengths) -> None:
    drawn = lengths.sample(np.random.default_rng(0), 200_000)
    edges = np.array([0.0, 9, 50, 400, 1000, 5000, np.inf])
    shares = np.histogram(drawn, edges)[0] / len(drawn)
    np.testing.assert_allclose(shares, lengths.partial_moments(edges)[0], atol=0.005)
    assert drawn.mean() == pytest.approx(lengths.mean, rel=0.01)
    assert drawn.min() >= 1


def test_two_thirds_of_a_lognormal_lie_within_one_geometric_sd() -> None:
    share = Lengths.lognormal(1000, 2).partial_moments(np.array([500.0, 2000.0]))[0][0]
    assert share == pytest.approx(0.6827, abs=1e-4)
