"""Keys are shown once and stored hashed; a name is one key at a time."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from polyfleet.errors import InputError
from polyfleet.gate.keys import create_key, list_keys, revoke_key
from polyfleet.gate.keys.tables import METADATA


def _everything(engine):
    """All that all tables hold, as text."""
    with engine.connect() as connection:
        return repr([connection.execute(select(table)).all() for table in METADATA.sorted_tables])


def test_a_key_is_32_random_bytes_and_only_its_hash_is_stored(engine):
    one, two = create_key(engine, "one"), create_key(engine, "two")
    assert re.fullmatch(r"pf-[A-Za-z0-9_-]{43}", one)
    assert one != two
    stored = _everything(engine)
    assert hashlib.sha256(one.encode()).hexdigest() in stored
    assert one not in stored
    assert one[3:11] not in stored


def test_a_listed_key_tells_its_limits_in_the_units_of_the_ledger(engine):
    create_key(engine, "team", budget_usd=50, per_s=2_592_000, rate_requests_per_min=600, rate_tokens_per_min=1e5,
               models=["chat", "embed", "chat"], admin=True)  # fmt: skip
    (facts,) = list_keys(engine)
    assert (facts.name, facts.models, facts.admin) == ("team", {"chat", "embed"}, True)
    limits = {budget.kind: (budget.limit, budget.per_s, budget.used) for budget in facts.budgets}
    assert limits == {"usd": (50_000_000_000, 2_592_000, 0), "requests": (600, 60, 0), "tokens": (100_000, 60, 0)}
    (usd,) = [budget for budget in facts.budgets if budget.kind == "usd"]
    assert usd.ends_at == pytest.approx(facts.created_at + 2_592_000)


def test_a_revoked_key_leaves_the_list_and_its_name_can_be_given_again(engine):
    create_key(engine, "team")
    revoke_key(engine, "team")
    assert list_keys(engine) == []
    create_key(engine, "team")
    assert [facts.revoked_at is None for facts in list_keys(engine, revoked=True)] == [False, True]


def test_of_many_that_make_a_key_of_one_name_at_once_one_does(engine):
    def make(_):
        try:
            return create_key(engine, "team")
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(8)))
    assert sum(text.startswith("pf-") for text in made) == 1
    assert sum("there is a key of this name" in text for text in made) == 7
    assert len(list_keys(engine)) == 1


def test_revoking_what_is_not_there_names_what_is(engine):
    create_key(engine, "alice")
    with pytest.raises(InputError, match="alice"):
        revoke_key(engine, "alise")


@pytest.mark.parametrize(
    "limits",
    [
        {"budget_usd": 0}, {"budget_usd": -1}, {"budget_usd": float("nan")}, {"budget_usd": float("inf")},
        {"budget_usd": 1e12}, {"per_s": 60}, {"budget_usd": 1, "per_s": 0}, {"budget_usd": 1, "per_s": float("nan")},
        {"rate_requests_per_min": 0.4}, {"rate_tokens_per_min": -5},
    ],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_and_no_key_is_made(tmp_path, limits):
    from polyfleet.database import open_database

    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    with pytest.raises(InputError):
        create_key(engine, "team", **limits)
    assert list_keys(engine) == []
    engine.dispose()


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "x" * 201, "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path, name):
    from polyfleet.database import open_database

    engine = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    with pytest.raises(InputError):
        create_key(engine, name)
    engine.dispose()
