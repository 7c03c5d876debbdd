"""Who comes in, who waits, who is told to come back; minutes of load simulated on a loop whose time jumps."""

import asyncio
from collections import Counter
from random import Random

import pytest
from pool_toys import ASK, pool_of, routes, simulate

from polyfleet.gate.pool.admission import Admission, AdmissionRules
from polyfleet.gate.pool.pool import Outcome, Pool
from polyfleet.gate.pool.refused import Refused
from polyfleet.terms.route import Routes

SLOTS = 8
SERVICE_S = 1.0


class Town:
    """A pool of one route with 8 slots that serves each request in about a second, and clients in front of it."""

    def __init__(self, rules: AdmissionRules | None = None, slots: int | None = SLOTS) -> None:
        self.loop = asyncio.get_running_loop()
        self.pool = Pool(routes("a", slots=slots), clock=self.loop.time, chance=Random(1))
        self.admission = Admission(self.pool, rules or AdmissionRules(max_wait_s=5.0), clock=self.loop.time)
        self.chance = Random(2)
        self.waits: list[float] = []
        self.served: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.second_tries: Counter[bool] = Counter()
        self.answers: Counter[tuple[int, str, bool]] = Counter()
        self.most_running = self.running = 0

    async def ask(self, key: str, body: bytes = b"") -> float | None:
        """One try: None where it was served, else the seconds that it was told to wait."""
        try:
            async with self.admission.enter("chat", key, ASK, body=body) as entry:
                self.waits.append(entry.waited_s)
                self.running += 1
                self.most_running = max(self.most_running, self.running)
                flight = self.pool.begin("a", ASK)
                await asyncio.sleep(SERVICE_S * self.chance.uniform(0.5, 1.5))
                flight.done(Outcome.OK, 100)
                self.running -= 1
                self.served[key] += 1
                return None
        except Refused as no:
            self.refused[key] += 1
            self.answers[no.status, no.code, no.retry_after_s is not None and no.retry_after_s >= 1.0] += 1
            return no.retry_after_s

    async def client(self, key: str, obeys: bool = True) -> None:
        body = self.chance.randbytes(8)
        told = await self.ask(key, body)
        if told is not None and obeys and told < 60.0:
            await asyncio.sleep(told)
            self.second_tries[await self.ask(key, body) is None] += 1

    async def arrive(self, key: str, per_s: float, seconds: float, obeys: bool = True) -> None:
        ends = self.loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while self.loop.time() < ends:
                await asyncio.sleep(self.chance.expovariate(per_s))
                group.create_task(self.client(key, obeys))


def test_no_more_than_the_slots_run_and_all_come_in_by_turn():
    async def main() -> Town:
        town = Town()
        assert await asyncio.gather(*(town.ask("k") for _ in range(40))) == [None] * 40
        return town

    town = simulate(main())
    assert town.most_running == SLOTS
    assert town.waits == sorted(town.waits)


def test_five_times_too_much_load_keeps_the_fleet_full_the_wait_short_and_the_memory_flat():
    async def main() -> Town:
        town = Town()
        async with asyncio.TaskGroup() as group:
            for n in range(10):
                group.create_task(town.arrive(f"key {n}", 4.0, 120.0, obeys=False))
            await asyncio.sleep(20)
            queues = []
            for _ in range(90):
                await asyncio.sleep(1)
                queues.append(sum(value for name, _, value in town.admission._gauges() if name == "polyfleet_queue"))
        assert max(queues) <= 1.5 * 5.0 * SLOTS
        return town

    town = simulate(main())
    assert sum(town.served.values()) >= 0.95 * 120 * SLOTS
    assert list(town.answers) == [(429, "overloaded", True)]
    assert sorted(town.waits)[int(0.9 * len(town.waits))] <= 1.5 * 5.0
    assert max(town.waits) <= 2.0 * 5.0
    assert town.running == 0


@pytest.mark.parametrize("times", [1.5, 3.0, 5.0])
def test_who_comes_back_when_told_is_let_in(times):
    async def main() -> Town:
        town = Town()
        async with asyncio.TaskGroup() as group:
            for n in range(10):
                group.create_task(town.arrive(f"key {n}", times * SLOTS / 10, 120.0))
        return town

    town = simulate(main())
    tried = sum(town.second_tries.values())
    assert tried > 50
    assert town.second_tries[True] >= 0.95 * tried
    assert sorted(town.waits)[int(0.9 * len(town.waits))] <= 1.5 * 5.0
    assert max(town.waits) <= 2.0 * 5.0


def test_a_key_that_floods_does_not_take_from_one_that_keeps_within_its_part():
    async def main() -> Town:
        town = Town()
        async with asyncio.TaskGroup() as group:
            group.create_task(town.arrive("hog", 40.0, 120.0, obeys=False))
            group.create_task(town.arrive("light", 2.0, 120.0, obeys=False))
        return town

    town = simulate(main())
    assert town.refused["light"] <= 0.02 * town.served["light"]
    assert town.refused["hog"] > 1000


def test_with_room_nobody_waits_or_is_refused():
    async def main() -> Town:
        town = Town()
        async with asyncio.TaskGroup() as group:
            group.create_task(town.arrive("k", 2.0, 200.0))
        return town

    town = simulate(main())
    assert not town.refused
    assert max(town.waits) < 1.0


def test_the_predicted_wait_is_the_wait():
    async def main() -> None:
        town = Town(AdmissionRules(max_wait_s=1000.0))
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(town.ask("k"))
            await asyncio.sleep(5)
            told = town.admission.predicted_wait_s("chat", "k", ASK)
            await town.ask("k")
        assert town.waits[-1] == pytest.approx(told, rel=0.2)

    simulate(main())


def test_a_client_that_leaves_while_it_waits_leaves_its_place_to_the_next():
    async def main() -> None:
        town = Town()
        tasks = [asyncio.create_task(town.ask("k")) for _ in range(3 * SLOTS)]
        await asyncio.sleep(0.1)
        for task in tasks[SLOTS : 2 * SLOTS]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(one is None for one in done) == 2 * SLOTS
        assert town.admission._waiting == 0
        assert town.loop.time() < 4.0

    simulate(main())


def test_a_client_that_leaves_as_it_is_called_gives_the_place_back():
    async def main() -> None:
        town = Town(slots=1)
        first = town.admission.enter("chat", "k", ASK)
        await first.__aenter__()
        waiting = asyncio.create_task(town.ask("k"))
        await asyncio.sleep(0.1)
        await first.__aexit__(None, None, None)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await asyncio.wait_for(town.ask("k"), 5) is None
        assert town.admission._doors["chat"].running == 0

    simulate(main())


def test_an_answer_that_breaks_gives_its_place_back():
    async def main() -> None:
        town = Town(slots=1)
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                async with town.admission.enter("chat", "k", ASK):
                    raise ZeroDivisionError
        assert await town.ask("k") is None

    simulate(main())


NONE = pytest.mark.parametrize(
    "none", [routes("a", state="draining"), Routes(models=("chat",))], ids=["draining", "gone"]
)


@NONE
def test_while_no_replica_is_there_requests_wait_for_one_and_then_run(none):
    async def main() -> None:
        town = Town()
        town.pool.update(none)
        waiting = [asyncio.create_task(town.ask("k")) for _ in range(5)]
        await asyncio.sleep(3)
        assert not any(task.done() for task in waiting)
        town.pool.update(routes("a", slots=SLOTS))
        assert await asyncio.gather(*waiting) == [None] * 5
        assert town.loop.time() < 6

    simulate(main())


@NONE
def test_where_none_comes_they_are_told_so(none):
    async def main() -> None:
        town = Town()
        town.pool.update(none)
        with pytest.raises(Refused) as caught:
            async with town.admission.enter("chat", "k", ASK):
                pass
        assert (caught.value.status, caught.value.code) == (503, "no_replica")
        assert town.loop.time() == pytest.approx(10.0)

    simulate(main())


def test_bodies_that_wait_are_bounded_in_bytes():
    async def main() -> None:
        town = Town(AdmissionRules(waiting_bytes=1000), slots=1)
        first = town.admission.enter("chat", "k", ASK)
        await first.__aenter__()

        async def large() -> None:
            async with town.admission.enter("chat", "k", ASK, body_bytes=400):
                pass

        tasks = [asyncio.create_task(large()) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert [task.done() for task in tasks] == [False, False, True]
        assert isinstance(tasks[2].exception(), Refused)
        await first.__aexit__(None, None, None)
        await asyncio.gather(*tasks[:2])
        assert town.admission._waiting_bytes == 0

    simulate(main())


def test_a_route_without_slots_lets_all_in_until_it_says_that_it_is_full():
    async def main() -> None:
        pool, _ = pool_of("a", slots=None)
        admission = Admission(pool)
        for _ in range(500):
            await admission.enter("chat", "k", ASK).__aenter__()
        assert admission._doors["chat"].running == 500

    simulate(main())
