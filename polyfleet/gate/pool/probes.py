"""Active probes: asks each route whether it lives, traffic or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from polyfleet.gate.pool.pool import Pool
from polyfleet.terms.route import Route

Probe = Callable[[Route], Awaitable[bool]]
"""Whether a route answers. May raise anything, or hang: both count as no."""


def own(route: Route) -> bool:
    """Whether a route is probed: hosted APIs, to which a key is sent, are known by their answers alone."""
    return not route.has_key


async def run_probes(
    pool: Pool,
    probe: Probe,
    *,
    every_s: float = 1.0,
    timeout_s: float = 2.0,
    at_once: int = 32,
    wanted: Callable[[Route], bool] = own,
) -> None:
    """Probe every wanted route each `every_s` until cancelled; one that does not answer in `timeout_s` is down."""
    room = asyncio.Semaphore(at_once)

    async def one(route: Route) -> None:
        async with room:
            answered = False
            try:
                async with asyncio.timeout(timeout_s):
                    answered = await probe(route)
            except Exception:  # noqa: BLE001, RUF100 - whatever went wrong, it did not answer
                answered = False
        pool.probed(route, answered)

    while True:
        await asyncio.gather(*(one(route) for route in pool.all_routes() if wanted(route)))
        await asyncio.sleep(every_s)
