"""A connection that is over is forgotten at once, not when its time for a head would have been up."""

from __future__ import annotations

import asyncio
import gc
import weakref

from polyfleet.gate.http.server import GateServer, Limits

COUNT = 20


async def left_of(count: int) -> list[object]:
    """Connections of clients that came, sent half a head, and went: those that are still in memory."""

    async def handle(_request: object, _client: object) -> None:
        raise AssertionError("no request was whole")

    gate = GateServer(handle, Limits(head_s=3600.0))
    server = await asyncio.get_running_loop().create_server(gate, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for _, writer in clients:
        writer.write(b"GET / HTTP/1.1\r\nhost: g\r\n")
    while len(gate.connections) < count:
        await asyncio.sleep(0)
    kept = [weakref.ref(connection) for connection in gate.connections]
    for _, writer in clients:
        writer.close()
        await writer.wait_closed()
    while gate.connections:
        await asyncio.sleep(0)
    server.close()
    await server.wait_closed()
    gc.collect()
    return [one for one in (ref() for ref in kept) if one is not None]


def test_a_connection_that_is_over_is_forgotten() -> None:
    assert asyncio.run(asyncio.wait_for(left_of(COUNT), 20.0)) == []
