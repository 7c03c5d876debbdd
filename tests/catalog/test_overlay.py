from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.catalog.hosted import load_hosted
from polyfleet.catalog.offers import load_offers
from polyfleet.catalog.overlay import COLUMNS, OverlayRow, lay_over, parse_overlay
from polyfleet.catalog.overlay_hosted import lay_over_hosted
from polyfleet.catalog.store import load_catalog
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Offer

LISTED = "aws:us-east-1:p5.48xlarge:on_demand"
NEW = "provider,region,instance_type,purchase,chip,chips,usd_per_hour,continent\n"


def laid(text: str) -> dict[str, Offer]:
    return {o.id: o for o in lay_over(load_offers(), parse_overlay(text.encode(), "own.csv"))}


def test_a_negotiated_price_wins_and_the_rest_stays() -> None:
    own = laid(f"id,usd_per_hour,quota_instances,as_of\n{LISTED},38.5,12,2026-10-01\n")[LISTED]
    listed = next(o for o in load_offers() if o.id == LISTED)
    assert own == replace(
        listed, usd_per_hour=38.5, quota_instances=12, as_of="2026-10-01", source="own.csv line 2", quality="user"
    )


def test_a_new_offer_is_added_with_what_its_chip_tells() -> None:
    offers = laid(NEW + "ourselves,hall-1,rack,reserved_3y,gb300,4,30,eu\n")
    offer = offers["ourselves:hall-1:rack:reserved_3y"]
    assert len(offers) == len(load_offers()) + 1
    assert (offer.chip, offer.chip_vendor, offer.chips, offer.domain_chips) == ("GB300", "nvidia", 4, 4)
    assert (offer.link_gb_s, offer.continent, offer.jurisdiction, offer.quality) == (900, "eu", "eu", "user")


def test_a_known_region_needs_no_continent() -> None:
    offers = laid("id,chip,chips,usd_per_hour\naws:eu-west-3:p9.48xlarge:on_demand,B300,8,99\n")
    offer = offers["aws:eu-west-3:p9.48xlarge:on_demand"]
    assert (offer.continent, offer.jurisdiction) == ("eu", "eu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "own.csv: is empty"),
        ("\n \n", "own.csv: is empty"),
        ("id,price\n", r"own.csv:1: unknown column \(got 'price'\)"),
        ("id,usd_per_hours\n", r"own.csv:1: unknown column .* did you mean usd_per_hour\?"),
        ("id,id,usd_per_hour\n", "own.csv:1: the column stands twice"),
        ("provider,usd_per_hour\n", "own.csv:1: columns are missing"),
        (f"id,usd_per_hour\n{LISTED}\n", "own.csv:2: the row has 1 cells, the header 2"),
        (f"id,usd_per_hour\n{LISTED},\n", "own.csv:2: the price is missing"),
        (f"id,usd_per_hour\n{LISTED},cheap\n", r"own.csv:2: usd_per_hour is not a number \(got 'cheap'\)"),
        (f"id,usd_per_hour\n{LISTED},-1\n", "own.csv:2: usd_per_hour must be a finite number above zero"),
        (f"id,usd_per_hour\n{LISTED},0\n", "own.csv:2: usd_per_hour must be a finite number above zero"),
        (f"id,usd_per_hour\n{LISTED},nan\n", "own.csv:2: usd_per_hour must be a finite number above zero"),
        (f"id,usd_per_hour\n{LISTED},inf\n", "own.csv:2: usd_per_hour must be a finite number above zero"),
        (f"id,usd_per_hour,as_of\n{LISTED},1,yesterday\n", r"own.csv:2: as_of is no date \(got 'yesterday'\)"),
        (f"id,usd_per_hour\n{LISTED},1\n{LISTED},2\n", "own.csv:3: the offer stands on line 2 already"),
        ("id,usd_per_hour\naws:p5,1\n", r"own.csv:2: the id is not one of an offer \(got 'aws:p5'\)"),
        ("id,usd_per_hour\na:b:c:hourly,1\n", r"own.csv:2: unknown purchase \(got 'hourly'\); one of on_demand"),
        ("id,usd_per_hour\na:b:c:per_token,1\n", r"own.csv:2: the price is missing \(got 'usd_per_million_input'\)"),
        (
            "id,usd_per_hour,usd_per_million_input,usd_per_million_output\na:b:c:per_token,1,1,1\n",
            "own.csv:2: usd_per_hour means nothing for per_token",
        ),
        (
            f"id,usd_per_hour,usd_per_million_input\n{LISTED},1,1\n",
            "own.csv:2: usd_per_million_input means nothing for on_demand",
        ),
        ("id,usd_per_hour\na:b:c:spot,1\n", "own.csv:2: chip is missing"),
        (
            "id,chip,chips,usd_per_hour\na:b:c:spot,H1000,8,1\n",
            r"own.csv:2: unknown chip \(got 'H1000'\); did you mean",
        ),
        ("id,chip,chips,usd_per_hour\na:b:c:spot,H100,8.5,1\n", "own.csv:2: chips must be a whole number"),
        ("id,chip,chips,usd_per_hour\na:b:c:spot,H100,8,1\n", "own.csv:2: where the region lies is missing"),
        (f"id,provider,usd_per_hour\n{LISTED},gcp,1\n", r"own.csv:2: provider differs from the id \(got 'gcp'\)"),
        (NEW + "a,b,c,spot,H100,8,1,mars\n", r"own.csv:2: unknown continent \(got 'mars'\)"),
        (NEW + ",b,c,spot,H100,8,1,us\n", "own.csv:2: provider is missing"),
        (
            f"id,chip,usd_per_hour\n{LISTED},H200,1\n",
            r"own.csv:2: chip differs from the listed offer's \(got 'H200-SXM'\)",
        ),
        (
            f"id,chips,usd_per_hour\n{LISTED},4,1\n",
            r"own.csv:2: chips differs from the listed offer's \(got 4\); it has 8",
        ),
        ('id,usd_per_hour\n"half a quote,1\n', "own.csv:.: is no CSV"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=f"^{message}"):
        laid(text)


TOKENS = "id,usd_per_million_input,usd_per_million_output,usd_per_million_cached_input,continent\n"


def test_a_negotiated_token_price_wins_and_the_rest_stays() -> None:
    name = "aws:eu:anthropic/claude-opus-5-5:per_token"
    rows = parse_overlay(f"{TOKENS}{name},3,15,,\n".encode(), "own.csv")
    own = next(h for h in lay_over_hosted(load_hosted(), rows) if h.id == name)
    listed = next(h for h in load_hosted() if h.id == name)
    changed = {"usd_per_million_input": 3, "usd_per_million_output": 15, "as_of": "", "source": "own.csv line 2"}
    assert own == replace(listed, **changed, quality="user")
    assert lay_over(load_offers(), rows) == tuple(sorted(load_offers(), key=lambda o: o.id))


def test_a_new_token_price_runs_on_its_hosts_chips() -> None:
    rows = parse_overlay(f"{TOKENS}cerebras:*:our/model:per_token,1,2,0.1,us\n".encode(), "own.csv")
    (own,) = set(lay_over_hosted(load_hosted(), rows)) - set(load_hosted())
    assert (own.model, own.chip_vendor, own.continent, own.quality) == ("our/model", "cerebras", "us", "user")
    assert (own.usd_per_million_input, own.usd_per_million_output, own.usd_per_million_cached_input) == (1, 2, 0.1)
    with pytest.raises(CatalogError, match=r"^own\.csv:2: where the region lies is missing"):
        lay_over_hosted(load_hosted(), parse_overlay(f"{TOKENS}a:b:c:per_token,1,2,,\n".encode(), "own.csv"))


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere\.csv: no such file"):
        load_catalog([tmp_path / "nowhere.csv"])
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog([tmp_path])


def test_text_in_another_encoding_is_refused() -> None:
    with pytest.raises(CatalogError, match="is not UTF-8 text"):
        parse_overlay(b"id,usd_per_hour,note\n\xff\xfe", "own.csv")


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    (row,) = parse_overlay(b"\xef\xbb\xbf" + f"id,usd_per_hour\r\n{LISTED},1\r\n".encode(), "own.csv")
    assert (row.id, row.line) == (LISTED, 2)


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_catalog_error(content: bytes) -> None:
    told = "own.csv"
    rows: tuple[OverlayRow, ...] = ()
    try:
        rows = parse_overlay(content, "own.csv")
    except CatalogError as error:
        told = error.file or ""
    assert told == "own.csv"
    assert len({row.id for row in rows}) == len(rows)


_CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [LISTED, "a:b:c:spot", "aws", "spot", "H100", "8", "0", "-1", "1e400", "nan", "1.5", "eu", '"', ""]
    ),
)


@given(
    st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=8),
    st.lists(st.lists(_CELLS, min_size=1, max_size=8), max_size=4),
)
def test_any_cells_under_real_columns_are_offers_or_a_catalog_error(header: list[str], rows: list[list[str]]) -> None:
    text = "\n".join([",".join(header), *(",".join(cells) for cells in rows)])
    told = "own.csv"
    offers: tuple[Offer, ...] = ()
    try:
        rows_read = parse_overlay(text.encode(), "own.csv")
        offers = lay_over(load_offers()[:5], rows_read)
        lay_over_hosted(load_hosted()[:5], rows_read)
    except CatalogError as error:
        told = error.file or ""
    assert told == "own.csv"
    assert all(o.usd_per_hour > 0 and o.chips >= 1 for o in offers)
    assert len({o.id for o in offers}) == len(offers)
