"""One request from the door to the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from polyfleet.gate.http.client import Client
from polyfleet.gate.http.faults import Fault
from polyfleet.gate.keys.passes import Estimate, Pass, Used
from polyfleet.gate.pool.admission import Admission
from polyfleet.gate.pool.ask import Ask
from polyfleet.gate.pool.refused import Refused
from polyfleet.gate.relay.asked import Asked, Kind, read_asked
from polyfleet.gate.relay.attempts import Attempts
from polyfleet.gate.relay.engine_request import poisoned
from polyfleet.gate.relay.shared import Shared
from polyfleet.gate.seen.metrics import RouteMeter

_UNSAID_OUTPUT_TOKENS = 4096
"""Held against a budget where neither the client nor a route's context bounds the output."""


class DoorLike(Protocol):
    """Who may ask, for how much; see Door and OpenDoor."""

    async def admit(self, presented: str | None, model: str, estimate: Estimate) -> Pass: ...
    async def check(self, presented: str | None) -> None: ...
    def settle(self, pass_: Pass, used: Used) -> None: ...


class Relay:
    """Answers requests. Every admitted one is settled exactly once, however it ends."""

    def __init__(self, shared: Shared, admission: Admission, door: DoorLike) -> None:
        self.shared, self.admission, self.door = shared, admission, door
        self._meters: dict[str, RouteMeter] = {}

    async def answer(self, kind: Kind, body: bytes, headers: Mapping[str, str], client: Client) -> None:
        """Writes the answer, errors included."""
        began = monotonic()
        asked: Asked | None = None
        try:
            try:
                asked = read_asked(kind, body)
            except Fault:
                await self.door.check(key_of(headers))  # what is wrong with a request is no stranger's business
                raise
            await self._admitted(asked, headers, client)
        except Refused as no:
            tell(client, self._fault(no, self._known(asked)))
        except Fault as fault:
            tell(client, fault)
        finally:
            self.shared.metrics.answered(self._known(asked), client.status or 499, monotonic() - began)

    async def check_key(self, headers: Mapping[str, str]) -> None:
        """Whether the key is one at all, before a body is taken that is still to come. Raises Fault."""
        try:
            await self.door.check(key_of(headers))
        except Refused as no:
            raise self._fault(no, "") from None

    def _fault(self, no: Refused, model: str) -> Fault:
        self.shared.metrics.refused(model, no.code)
        return Fault(no.status, no.code, no.message, retry_after_s=no.retry_after_s)

    def _known(self, asked: Asked | None) -> str:
        """The model, where it is one of the gate's own: clients must not name metrics."""
        return asked.model if asked is not None and self.shared.pool.routes(asked.model) else ""

    async def _admitted(self, asked: Asked, headers: Mapping[str, str], client: Client) -> None:
        shared = self.shared
        ask = Ask(float(asked.input_tokens), _float(asked.max_tokens), asked.conversation)
        attempts = Attempts(shared, asked, ask, headers, client)
        client.told = attempts.told
        pass_ = await self.door.admit(key_of(headers), asked.model, self._estimate(asked))
        attempts.key = pass_.key
        try:
            if not shared.pool.routes(asked.model):
                raise unknown_model(asked.model, shared.pool.models())
            if asked.body in shared.poison:
                raise poisoned()
            async with self.admission.enter(asked.model, pass_.key, ask, body=asked.body):
                shared.budget.request()
                await (attempts.stream() if asked.stream else attempts.whole())
        except Fault as fault:
            tell(client, fault)
        finally:
            self._settle(pass_, attempts, asked, client)

    def _estimate(self, asked: Asked) -> Estimate:
        """The most that it can use: a token stands for at least one byte of the request."""
        routes = self.shared.pool.routes(asked.model)
        output = asked.max_tokens
        contexts = [route.context_tokens for route in routes if route.context_tokens is not None]
        if output is None:
            output = max(1, max(contexts, default=_UNSAID_OUTPUT_TOKENS) - asked.input_tokens)
        if asked.kind is Kind.EMBEDDINGS:
            output = 0
        most = min(len(asked.body), max(contexts, default=len(asked.body)))
        return Estimate.of(most, output * asked.answers, routes)

    def _settle(self, pass_: Pass, attempts: Attempts, asked: Asked, client: Client) -> None:
        status = client.status or 499
        route = attempts.route
        if route is None:
            used = Used(pass_.key, "", asked.model, "", 0, 0, 0.0, client.request_id, status)
        else:
            used = Used.on(
                route, pass_, client.request_id, status, input_tokens=attempts.input_tokens,
                output_tokens=attempts.output_tokens, resumed=attempts.resumed,
            )  # fmt: skip
            attempts.usd = used.usd
            meter = self._meters.get(route.id)
            if meter is None:
                meter = self._meters[route.id] = self.shared.metrics.route(route.id)
            meter.input_tokens.value += attempts.input_tokens
            meter.output_tokens.value += attempts.output_tokens
            self.shared.metrics.spent(route.id, route.provider, used.usd)
        self.door.settle(pass_, used)


def tell(client: Client, fault: Fault) -> None:
    """The fault as the answer, where none has begun."""
    if client.started:
        return
    client.error = fault.code
    client.whole(fault.status, fault.headers, fault.body)


def unknown_model(asked: str, known: list[str]) -> Fault:
    """404, naming the models that there are."""
    shown = asked if len(asked) <= 80 else asked[:77] + "..."
    return Fault(404, "model_not_found", f"there is no model {shown!r}; there are: {', '.join(known) or 'none'}",
                 param="model")  # fmt: skip


def key_of(headers: Mapping[str, str]) -> str | None:
    """The key that the client presents."""
    given = headers.get("authorization")
    if given is not None:
        return given
    return headers.get("x-api-key")


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
