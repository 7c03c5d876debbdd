"""Active probes against a real server and hand-made ones."""

import asyncio

from pool_toys import pool_of, route, simulate

from polyfleet.gate.pool.health import Standing
from polyfleet.gate.pool.pool import Pool
from polyfleet.gate.pool.probes import run_probes
from polyfleet.terms.route import Routes


def test_a_dead_or_hanging_route_is_ejected_and_a_hosted_one_is_never_asked():
    async def main() -> None:
        asked: list[str] = []

        async def probe(one) -> bool:
            asked.append(one.id)
            if one.id == "dead":
                raise OSError
            if one.id == "hangs":
                await asyncio.sleep(1e6)
            return True

        loop = asyncio.get_running_loop()
        four = (route("well"), route("dead"), route("hangs"), route("hosted", key_env="KEY"))
        pool = Pool(Routes(routes=four), clock=loop.time)
        task = asyncio.create_task(run_probes(pool, probe))
        await asyncio.sleep(10)
        task.cancel()
        standings = [pool.standing(one.id) for one in four]
        assert standings == [Standing.OPEN, Standing.EJECTED, Standing.EJECTED, Standing.OPEN]
        assert "hosted" not in asked

    simulate(main())


def test_no_more_than_some_are_asked_at_once():
    async def main() -> int:
        now = most = 0

        async def probe(_) -> bool:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.1)
            now -= 1
            return True

        pool, _ = pool_of(*(f"r{i}" for i in range(50)))
        task = asyncio.create_task(run_probes(pool, probe, at_once=7))
        await asyncio.sleep(3)
        task.cancel()
        return most

    assert simulate(main()) == 7
