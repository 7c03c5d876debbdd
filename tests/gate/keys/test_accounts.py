"""A worker's part of a budget follows what is asked of it: it grows ahead of need and is given back when idle."""

from polyfleet.gate.keys import Estimate, Used
from polyfleet.gate.keys.account import Lent, account_of
from polyfleet.gate.keys.store import BudgetFacts

ASK = Estimate(10, 10, 0.001)


def _tell(account, now_s, *, most=10**15):
    """One exchange with a lender that has enough, and nobody else to lend to."""
    told = account.tell(now_s)
    held = account.held - told.spent - told.back
    held += max(0, min(most - held, told.need + told.ahead - held))
    account.hear(Lent(told.period, held, None, 0, 0, 0), now_s, now_s, refuse_s=0.25)
    return told


def _borrow(account, amount, now_s):
    account.wait(amount)
    _tell(account, now_s)
    account.wait(-amount)


def test_what_is_leased_follows_the_pace_so_that_a_steady_load_never_waits():
    active = set()
    account = account_of(BudgetFacts(1, "usd", 10**15), active)
    need = account.need_of(ASK)
    assert account.free(0.0) == 0
    _borrow(account, need, 0.0)
    waited = 0
    for tick in range(40):
        for _ in range(100):
            if need > account.free(tick * 0.25):
                waited += 1
                _borrow(account, need, tick * 0.25)
            account.settle(account.take(need, tick * 0.25), Used("k", "r", "m", "p", 1, 1, 0.001, "id", 200))
        account.tick()
        assert account.dirty
        _tell(account, tick * 0.25)
    assert waited <= 6  # while it learns the pace
    assert 100 * need < account.free(10.0) < 10_000 * need
    assert account in active


def test_an_idle_worker_has_given_all_back_a_minute_later():
    for kind in ("usd", "requests", "tokens"):
        account = account_of(BudgetFacts(1, kind, 10**15), set())
        need = account.need_of(ASK)
        _borrow(account, need, 0.0)
        account.settle(account.take(need, 0.0), Used("k", "r", "m", "p", 1, 1, 0.001, "id", 200))
        for tick in range(1, 290):
            account.tick()
            if account.dirty:
                _tell(account, tick * 0.25)
        assert account.asleep, kind
        assert account.held == 0


def test_a_rate_looks_back_a_whole_minute_and_not_much_longer():
    account = account_of(BudgetFacts(1, "requests", 2), set())
    account.hear(Lent(0, 2, None, 0, 0, 0), 0.0, 0.0, refuse_s=0.25)
    account.take(1, 100.0)
    account.take(1, 130.1)
    assert [account.free(at) for at in (130.2, 159.99, 160.3, 189.9, 190.5)] == [0, 0, 1, 1, 2]


def test_what_is_on_its_way_to_the_database_cannot_be_taken():
    account = account_of(BudgetFacts(1, "usd", 10**15), set())
    account.hear(Lent(0, 3_000_000, None, 0, 0, 0), 0.0, 0.0, refuse_s=0.25)
    account.settle(account.take(1_000_000, 0.0), Used("k", "r", "m", "p", 1, 1, 0.0005, "id", 200))
    assert account.free(0.0) == 2_500_000
    account.hungry_elsewhere = True
    told = account.tell(0.0)
    assert (told.spent, told.back, told.need, account.free(0.0)) == (500_000, 2_500_000, 0, 0)
    account.hear(Lent(0, 0, None, 500_000, 0, 0), 0.0, 0.0, refuse_s=0.25)
    assert (account.free(0.0), account.used) == (0, 500_000)


def test_when_a_period_is_over_nothing_of_it_can_be_taken_or_is_charged_to_the_next():
    account = account_of(BudgetFacts(1, "usd", 10**15, per_s=30.0), set())
    account.hear(Lent(0, 100, 5.0, 0, 0, 0), 10.0, 10.2, refuse_s=0.25)  # counted from before it was asked
    hold = account.take(60, 11.0)
    assert [account.free(at) for at in (14.9, 15.0)] == [40, 0]
    account.tell(15.0)
    account.hear(Lent(1, 50, 30.0, 0, 0, 0), 15.0, 15.1, refuse_s=0.25)
    account.settle(hold, Used("k", "r", "m", "p", 1, 1, 6e-8, "id", 200))
    assert (account.free(16.0), account.spent, account.used) == (50, 0, 0)
