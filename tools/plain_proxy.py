"""The least that an aiohttp proxy can be: passes requests on to one upstream and answers back, without a thought.

python tools/plain_proxy.py UPSTREAM PORT
"""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web


async def _relay(request: web.Request) -> web.StreamResponse:
    client: aiohttp.ClientSession = request.app["client"]
    body = await request.read()
    async with client.post(request.app["upstream"] + request.path, data=body, headers=_JSON) as answer:
        if "text/event-stream" not in answer.content_type:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)
        out = web.StreamResponse(status=answer.status, headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        async for data in answer.content.iter_any():
            await out.write(data)
        return out


_JSON = {"content-type": "application/json"}


async def _made(upstream: str) -> web.Application:
    application = web.Application(client_max_size=64 << 20)
    application["upstream"] = upstream
    application["client"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    application.router.add_post("/{path:.*}", _relay)
    application.router.add_get("/health", lambda _request: web.Response())
    return application


def main() -> None:
    uvloop.install()
    web.run_app(_made(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), print=None, access_log=None)


if __name__ == "__main__":
    main()
