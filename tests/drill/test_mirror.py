"""The drill's own routes lead through proxies, and follow the fleet's as they change."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.drill.proxy import FaultProxy, garbled
from polyfleet.drill.stage import Mirror
from polyfleet.terms.route import Route, Routes, routes_from_json


def written(file: Path, *urls: str) -> None:
    routes = tuple(Route(id=url[-4:], url=url, served=("m",), weight=2.0) for url in urls)
    temporary = file.with_suffix(".new")
    temporary.write_text(Routes(routes=routes).model_dump_json())
    temporary.replace(file)


def test_routes_that_come_later_are_led_through_proxies_too(tmp_path: Path) -> None:
    source, mirrored = tmp_path / "source.json", tmp_path / "mirrored.json"
    one, other = "http://127.0.0.1:1001", "http://127.0.0.1:1002"

    async def run() -> tuple[Routes, Routes, dict[str, FaultProxy]]:
        written(source, one)
        mirror = Mirror(source, mirrored, slow_ms=1.0)
        await mirror.start()
        first = routes_from_json(mirrored.read_text())
        written(source, one, other)
        async with asyncio.timeout(10):
            while len(second := routes_from_json(mirrored.read_text()).routes) < 2:
                await asyncio.sleep(0.01)
        await mirror.close()
        return first, Routes(routes=second), mirror.proxies

    first, second, proxies = asyncio.run(run())
    assert set(proxies) == {one, other}
    assert first.routes[0] == second.routes[0]
    assert {route.url for route in second.routes}.isdisjoint({one, other})
    assert [route.weight for route in second.routes] == [2.0, 2.0]


@given(st.binary(min_size=1, max_size=200), st.integers())
def test_garbled_bytes_are_never_text(data: bytes, seed: int) -> None:
    broken = garbled(data, random.Random(seed))
    assert len(broken) == len(data)
    assert 1 <= sum(a != b for a, b in zip(data, broken, strict=True)) <= 16 or data == broken
    assert any(byte in {0xC0, 0xF8, 0xFE, 0xFF} for byte in broken)


def test_a_cut_is_a_reset_and_new_connections_pass() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"text/event-stream\n")
        writer.close()

    async def run() -> tuple[int, int, type[Exception], bytes]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        proxy = FaultProxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        port = int((await proxy.start()).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle = proxy.cut()
        writer.write(b"ask\n")
        await reader.readline()
        struck, problem = proxy.cut(), Exception
        try:
            await reader.read()
        except ConnectionResetError:
            problem = ConnectionResetError
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ask\n")
        again = await reader.readline()
        writer.close()
        await proxy.close()
        server.close()
        return idle, struck, problem, again

    assert asyncio.run(run()) == (0, 1, ConnectionResetError, b"text/event-stream\n")
