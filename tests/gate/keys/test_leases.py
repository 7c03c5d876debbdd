"""Workers that lease parts of one budget, step by step in every order: never more in sum than the whole.

The oracle keeps its own books: what is in flight or was used, of which period, and when each request was let in.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

from polyfleet.gate.keys import Estimate, Used, create_key, list_keys
from polyfleet.gate.keys.account import account_of
from polyfleet.gate.keys.exchange import Turn, exchange, reap
from polyfleet.gate.keys.passes import NANO

LIMIT_USD, PERIOD_S, RATE, LEASE_S, USABLE_S = 1000, 60.0, 5, 120.0, 10.0


class Worker:
    """What the gate does with accounts, one step at a time."""

    def __init__(self, name, budgets):
        self.name, self.number = name, 0
        self.accounts = {b.id: account_of(b, set()) for b in budgets}
        self.good_until = float("-inf")
        self.flying = []
        self.unsent = None


class Leases(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        # One connection: an in-memory database that is gone with it.
        self.engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        event.listen(self.engine, "connect", lambda c, _: setattr(c, "isolation_level", None))
        event.listen(self.engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
        self.now = 1000.0
        self.patch = pytest.MonkeyPatch()
        for module in ("exchange", "store"):
            self.patch.setattr(f"polyfleet.gate.keys.{module}.database_now", lambda _connection: self.now)
        limits = {"budget_usd": LIMIT_USD, "per_s": PERIOD_S, "rate_requests_per_min": RATE}
        create_key(self.engine, "k", **limits)
        self.budgets = list_keys(self.engine)[0].budgets
        self.workers, self.born = [], 0
        self.used, self.dead, self.let_in = {}, [], []
        for _ in range(2):
            self.new_worker()

    def teardown(self):
        if hasattr(self, "engine"):
            self.patch.undo()
            self.engine.dispose()

    def new_worker(self):
        self.born += 1
        self.workers.append(Worker(f"w{self.born}", self.budgets))

    def period(self):
        return int((self.now - 1000.0) // PERIOD_S)

    @rule(times=st.integers(1, 6), who=st.integers(0, 1))
    def ask_often(self, times, who):
        for _ in range(times):
            self.ask(who, "requests", 1)

    @rule(who=st.integers(0, 1), kind=st.sampled_from(["usd", "usd", "requests"]), usd=st.sampled_from([1, 300, 1000]))
    def ask(self, who, kind, usd):
        """A request that needs one thing only; while it waits, all workers talk."""
        worker = self.workers[who]
        (account,) = [one for one in worker.accounts.values() if one.kind == kind]
        need = account.need_of(Estimate(1, 1, float(usd)))
        for _ in range(4):
            if self.now < worker.good_until and need <= account.free(self.now):
                hold = account.take(need, self.now)
                if kind == "usd":
                    worker.flying.append((hold, self.period(), usd))
                else:
                    self.let_in.append(self.now)
                return
            account.wait(need)
            for one in self.workers:
                self.talk(one)
            account.wait(-need)

    @precondition(lambda self: any(w.flying for w in self.workers))
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0]))
    def settle(self, data, share):
        worker = data.draw(st.sampled_from([w for w in self.workers if w.flying]))
        hold, period, usd = worker.flying.pop(data.draw(st.integers(0, len(worker.flying) - 1)))
        hold.account.settle(hold, Used("k", "r", "m", "local", 1, 1, usd * share, "id", 200))
        self.used[period] = self.used.get(period, 0) + round(usd * share * NANO)

    @rule(who=st.integers(0, 1), heard=st.booleans(), ticks=st.sampled_from([0, 1, 25]))
    def tell(self, who, heard, ticks):
        for account in self.workers[who].accounts.values():
            for _ in range(ticks):
                account.tick()
        self.talk(self.workers[who], heard=heard)

    def talk(self, worker, *, heard=True):
        """One exchange; not heard: it was committed, and the connection broke before the answer came."""
        if worker.unsent is None:
            worker.number += 1
            told = tuple(account.tell(self.now) for account in worker.accounts.values())
            worker.unsent = Turn(worker.name, worker.number, told)
        answer = exchange(self.engine, worker.unsent, lease_s=LEASE_S)
        if not heard:
            return
        worker.unsent = None
        for account in worker.accounts.values():
            if answer.lost:
                account.held = 0
            account.hear(answer.lent[account.id], self.now, self.now, refuse_s=0.25)
            account.hungry_elsewhere = account.id in answer.hungry
        worker.good_until = self.now + USABLE_S

    @rule(seconds=st.sampled_from([1.0, 8.0, 29.0, 55.0]))
    def wait(self, seconds):
        """All live workers go on talking meanwhile, as the gate's do; requests are in flight for less than a lease."""
        until = self.now + seconds
        while self.now < until:
            for worker in self.workers:
                self.talk(worker)
            self.now = min(until, self.now + 9.0)
        reap(self.engine)

    @precondition(lambda self: self.born < 3)  # more would leave nothing to lease for two minutes
    @rule(who=st.integers(0, 1), really=st.sampled_from([False, False, False, True]))
    def die(self, who, really):
        """Killed: its requests end with it, what they had used is not told. Another worker starts in its place."""
        if not really:
            return
        worker = self.workers.pop(who)
        self.dead.append((self.now + LEASE_S, worker))
        self.new_worker()

    @invariant()
    def never_more_than_the_budget(self):
        if not hasattr(self, "engine"):
            return
        for period in {self.period(), *self.used}:
            workers = self.workers + [w for expires, w in self.dead if expires > self.now]
            flying = sum(usd for w in workers for _, p, usd in w.flying if p == period)
            assert self.used.get(period, 0) + flying * NANO <= LIMIT_USD * NANO

    @invariant()
    def never_more_than_the_rate(self):
        if hasattr(self, "engine"):
            self.let_in = [at for at in self.let_in if at > self.now - 60.0]
            assert len(self.let_in) <= RATE

    @invariant()
    def the_books_agree(self):
        """All leases and what was told are never more than the limit, as the database has it."""
        if not hasattr(self, "engine"):
            return
        with self.engine.begin() as connection:
            rows = connection.exec_driver_sql(
                'SELECT b."limit", b.used + coalesce(sum(l.amount), 0) FROM budgets b'
                " LEFT JOIN leases l ON l.budget_id = b.id AND l.period = b.period GROUP BY b.id"
            ).all()
        assert all(total <= limit for limit, total in rows)


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=10, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
