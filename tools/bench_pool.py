"""What routing costs each request: processor time of pick, begin, first byte and done; of a piece of a stream; of
admission. Run: python tools/bench_pool.py [ROUTES]"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from itertools import count

from polyfleet.gate.pool.admission import Admission
from polyfleet.gate.pool.pool import Ask, Outcome, Pool
from polyfleet.terms.route import Route, Routes

TIMES, REPEATS = 20_000, 5
ASK = Ask(300, 200)


def microseconds(act: Callable[[], object]) -> float:
    """Processor time of one call, the best of some runs."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(TIMES):
            act()
        best = min(best, (time.process_time() - began) / TIMES)
    return 1e6 * best


def pool_of(routes: int) -> Pool:
    rows = [Route(id=f"r{i}", url=f"http://r{i}", served=("chat",), slots=64) for i in range(routes)]
    return Pool(Routes(routes=tuple(rows)))


def one(pool: Pool, ask: Ask) -> None:
    route = pool.pick("chat", ask)
    assert route is not None
    flight = pool.begin(route.id, ask, "chat")
    flight.first_byte()
    flight.done(Outcome.OK, 200)


async def admitted(pool: Pool) -> float:
    admission, best = Admission(pool), float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(TIMES):
            async with admission.enter("chat", "key", ASK):
                pass
        best = min(best, (time.process_time() - began) / TIMES)
    return 1e6 * best


def main() -> None:
    routes = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    pool, turns = pool_of(routes), count()
    running = [pool.begin(f"r{i % routes}", ASK) for i in range(25 * routes)]
    print(f"{routes} routes, {len(running)} requests in flight, microseconds of processor time")
    print(f"pick, begin, first byte, done   {microseconds(lambda: one(pool, ASK)):6.2f}")
    kept = microseconds(lambda: one(pool, Ask(300, 200, f"talk {next(turns) % 997}")))
    print(f"the same, of a conversation     {kept:6.2f}")
    stream = pool.begin("r0", Ask(300, 1e9))
    stream.first_byte()
    print(f"a piece of a stream             {microseconds(lambda: stream.tokens(1)):6.2f}")
    print(f"admission with room             {asyncio.run(admitted(pool)):6.2f}")


if __name__ == "__main__":
    main()
