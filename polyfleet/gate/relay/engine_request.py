"""One request as it goes to an engine, and what its end says of the route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from polyfleet.gate.http.faults import Fault
from polyfleet.gate.http.headers import upward
from polyfleet.gate.http.upstream import Upstream, UpstreamFailed
from polyfleet.gate.pool.ask import Outcome
from polyfleet.gate.pool.holds import FULL
from polyfleet.gate.pool.upstream_keys import NoKeyError, UpstreamKeys
from polyfleet.gate.relay.leg import LegEnd
from polyfleet.gate.relay.resume import CannotResume
from polyfleet.terms.route import Route


class SideCall:
    """Side calls to one route's engine; see Call."""

    def __init__(self, upstream: Upstream, keys: UpstreamKeys, route: Route, request_id: str, limit_s: float) -> None:
        self._upstream, self._keys, self._route = upstream, keys, route
        self._request_id, self._limit_s = request_id, limit_s

    async def __call__(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            key = self._keys.of(self._route)
            request = request_bytes(self._route, path, orjson.dumps(body), {}, self._request_id, key)
            status, _, answer = await self._upstream.ask(self._route.url, request, timeout_s=self._limit_s)
        except NoKeyError:
            raise UpstreamFailed("its key is missing", accepted=False) from None
        except TimeoutError:
            raise UpstreamFailed(f"{path} did not answer", accepted=False) from None
        if status != 200:
            if status >= 500:
                raise UpstreamFailed(f"{path} answered {status}", accepted=False)
            raise CannotResume(f"{path} answered {status}")
        told = orjson.loads(answer)
        if not isinstance(told, dict):
            raise CannotResume(f"{path} did not answer as expected")
        return told


def request_bytes(
    route: Route, path: str, body: bytes, headers: Mapping[str, str], request_id: str, key: str | None
) -> bytes:
    """The whole request as it goes to an engine; `path` as engines have it that stand by themselves."""
    head = upward(headers, host_of(route.url), request_id, key, len(body))
    return b"POST %b HTTP/1.1\r\n%b%b" % (upstream_path(route.path, path).encode(), head, body)


def upstream_path(base: str, path: str) -> str:
    """Where a path of an engine lies on a host whose API begins with `base` in place of `/v1`. What lies beside `/v1`
    (`/tokenize`, `/health`) is taken to lie beside `base`."""
    if path.startswith("/v1/"):
        return base + path[3:]
    return base.removesuffix("/v1") + path if base.endswith("/v1") else path


def host_of(url: str) -> str:
    """The Host header of an address: without its scheme's own port (RFC 9110, 7.2)."""
    scheme, _, host = url.partition("://")
    return host.removesuffix(":443" if scheme == "https" else ":80")


def outcome_of(end: LegEnd) -> Outcome:
    """What the pool learns of the route."""
    if end.stalled:
        return Outcome.STALLED
    if not end.whole or (end.status >= 500 and end.status not in FULL) or end.status in {401, 403}:
        return Outcome.FAILED
    return Outcome.REFUSED if end.status in FULL else Outcome.OK


def poisoned(names: str = "") -> Fault:
    """Not a 5xx: clients try those again by themselves."""
    who = f" ({names})" if names else ""
    return Fault(422, "request_kills_replicas", f"replicas died with this request on them{who}; it is not tried again")


def kind_of(end: LegEnd) -> str:
    """The reason of a retry, for the metric."""
    return f"status_{end.status}" if end.whole else "broken" if end.accepted else "no_connection"
