"""The attempts at one request: elsewhere as a whole before its first byte, on from where it stood after."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeVar

import orjson

from polyfleet.gate.engines import Engine, engine_of
from polyfleet.gate.http.client import Client
from polyfleet.gate.http.faults import Fault, fault_event
from polyfleet.gate.http.headers import back
from polyfleet.gate.http.upstream import UpstreamFailed
from polyfleet.gate.pool.ask import Ask, Outcome
from polyfleet.gate.pool.flight import Flight
from polyfleet.gate.pool.upstream_keys import NoKeyError
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.gate.relay.engine_request import SideCall, kind_of, outcome_of, poisoned, request_bytes
from polyfleet.gate.relay.event_facts import usage_in
from polyfleet.gate.relay.leg import Leg, LegEnd, WholeLeg
from polyfleet.gate.relay.legs import FirstLeg, RestLeg
from polyfleet.gate.relay.model_name import renamer
from polyfleet.gate.relay.resume import DONE_EVENT, CannotResume, Continued, settle, usage_event
from polyfleet.gate.relay.retries import Strikes
from polyfleet.gate.relay.shared import Shared
from polyfleet.gate.relay.stops import StopWatch
from polyfleet.gate.relay.transcript import Transcript
from polyfleet.gate.seen.access_log import AccessLine
from polyfleet.terms.route import Route

_STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_ELSEWHERE = frozenset({401, 403, 408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses of a route that say nothing of the request: a wrong key of the gate's own, a full or a broken engine."""
_L = TypeVar("_L", bound=Leg)


class Attempts:
    """One request's way. After it `route`, `input_tokens`, `output_tokens` and `resumed` tell what to settle."""

    def __init__(self, shared: Shared, asked: Asked, ask: Ask, headers: Mapping[str, str], client: Client) -> None:
        self._shared, self._asked, self._ask = shared, asked, ask
        self._headers, self._client = headers, client
        self._strikes = Strikes()
        self._avoid: frozenset[str] = frozenset()
        self._legs = 0
        self._deadline = 0.0
        self.route: Route | None = None
        self.input_tokens = self.output_tokens = self.resumed = self.retries = self.at_token = 0
        self.ttft_s: float | None = None
        self.routes: list[str] = []
        self.key, self.usd = "", 0.0

    def told(self, line: AccessLine) -> AccessLine:
        """The line of the access log with what became of this request."""
        return line._replace(
            model=self._asked.model, routes=tuple(self.routes), ttft_s=self.ttft_s, input_tokens=self.input_tokens,
            output_tokens=self.output_tokens, usd=self.usd, key=self.key, retries=self.retries, resumed=self.resumed,
        )  # fmt: skip

    # answers that are not streamed

    async def whole(self) -> None:
        """Raises Fault where nobody answers."""
        most = self._shared.rules.most_answer_bytes
        while True:
            route = await self._pick()
            body = self._body(route, engine_of(route.engine).plain(self._asked))
            leg, end = await self._fly(route, lambda flight: WholeLeg(flight, most), self._asked.kind.value, body)
            if leg is not None and end.whole and end.status not in _ELSEWHERE:
                self._pass_whole(route, end)
                return
            self._failed(route, end, 0)

    def _pass_whole(self, route: Route, end: LegEnd) -> None:
        counts = usage_in(end.body) if end.status == 200 else None
        self.input_tokens, self.output_tokens = counts or (0, 0)
        headers = [*back(end.headers), (b"x-polyfleet-route", route.id.encode())]
        rename = renamer(route, self._asked) if end.status == 200 else None
        self._client.whole(end.status, headers, rename(end.body) if rename else end.body)

    # streams

    async def stream(self) -> None:
        """Raises Fault where nothing has been said yet and nobody answers; after that a fault ends the stream."""
        while True:
            route = await self._pick()
            engine = engine_of(route.engine)
            transcript = Transcript()
            body = self._body(route, self._armed(route, engine))
            leg, end = await self._fly(route, self._first_leg(route, engine, transcript), self._asked.kind.value, body)
            if leg is not None and end.whole and end.status == 200 and self._client.started:
                await self._finish_first(route, engine, leg)
                return
            if self._client.started and leg is not None:
                if leg.fold().finish is None:
                    break
                await self._finish_first(route, engine, leg)  # all was said: only the counts and the end are missing
                return
            if end.whole and self._must_be_plainer(route, engine, end):
                continue
            if leg is not None and end.whole and end.status not in _ELSEWHERE:
                self._pass_whole(route, end)
                return
            self._failed(route, end, 0)
        await self._go_on(route, engine, leg, end)

    def _armed(self, route: Route, engine: Engine) -> dict[str, Any]:
        """What a stream asks for beside what the client did."""
        return {} if route.id in self._shared.without_usage else engine.armed(self._asked)

    def _must_be_plainer(self, route: Route, engine: Engine, end: LegEnd) -> bool:
        """Whether the host refused what only the gate asked for. It is then asked without, now and from now on: the
        stream's tokens are counted by its events."""
        known, asked = self._shared.without_usage, self._asked
        refused = end.status in {400, 422} and b"stream_options" in end.body
        if not refused or engine.resumes or route.id in known or "stream_options" in asked.fields:
            return False
        known.add(route.id)
        return True

    def _first_leg(self, route: Route, engine: Engine, transcript: Transcript) -> Callable[[Flight], FirstLeg]:
        headers = (*_STREAM_HEADERS, (b"x-polyfleet-route", route.id.encode()))
        asked, client, rename = self._asked, self._client, renamer(route, self._asked)
        return lambda flight: FirstLeg(flight, asked, engine, client, transcript, lambda: client.start(headers), rename)

    async def _finish_first(self, route: Route, engine: Engine, leg: FirstLeg) -> None:
        counts = leg.counts()
        if not leg.done:  # the finish was said; usage and end were lost with the connection
            transcript = leg.fold()
            if counts is None:
                counts = await self._recount(route, engine, transcript)
                if self._asked.wants_usage:
                    self._client.write(usage_event(transcript.head, *counts))
            self._client.write(DONE_EVENT)
        self.input_tokens, self.output_tokens = counts or (self._asked.input_tokens, leg.flight.output_tokens)
        self._client.finish()

    async def _recount(self, route: Route, engine: Engine, transcript: Transcript) -> tuple[int, int]:
        """Tokens of an answer that is whole but for its counts. Another replica makes its unsaid end again (the end of
        sequence, a stop string), which is exact where it is greedy."""
        finish, transcript.finish = transcript.finish, None
        made = transcript.made + (finish == "stop")
        if engine.resumes and self._asked.not_resumable is None and self._asked.greedy:
            continued = Continued(self._asked, transcript, StopWatch(self._asked.stop), muted=True)
            with contextlib.suppress(CannotResume, Fault):
                await self._legs_on(route, engine, continued, LegEnd(False, reason="usage was lost"))
                usage = continued.usage or {}
                return usage["prompt_tokens"], usage["completion_tokens"]
        return len(transcript.prompt_ids or ()) or self._asked.input_tokens, made

    async def _go_on(self, route: Route, engine: Engine, first: FirstLeg, end: LegEnd) -> None:
        transcript = first.fold()
        self.input_tokens, self.output_tokens = self._asked.input_tokens, transcript.made
        watch = StopWatch(self._asked.stop, keep=bool(self._asked.fields.get("include_stop_str_in_output")))
        continued = Continued(self._asked, transcript, watch, said=len(transcript.text), told=len(transcript.ids))
        try:
            why = None if engine.resumes else engine.why_not(self._asked)
            why = self._asked.not_resumable or why or ("reasoning or a tool call" if transcript.beyond else None)
            if why is not None:
                raise Fault(502, "replica_lost", f"the replica failed ({end.reason}) and this cannot be resumed: {why}")
            await self._legs_on(route, engine, continued, end)
        except CannotResume as error:
            self._break_off(Fault(502, "replica_lost", f"the replica failed and the stream cannot go on: {error}"))
        except Fault as fault:
            self._break_off(fault)
        else:
            self._client.write(continued.end())
            usage = continued.usage or {}
            self.input_tokens, self.output_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        self._client.finish()

    def _break_off(self, fault: Fault) -> None:
        self._client.write(fault_event(fault.status, fault.code, fault.message))
        self._client.status, self._client.error = fault.status, fault.code

    async def _legs_on(self, route: Route, dead: Engine, continued: Continued, end: LegEnd) -> None:
        """Legs until the stream is at its end. Raises Fault, CannotResume."""
        transcript, shared = continued.transcript, self._shared
        limit = self._limit(dead)
        while continued.finish is None:
            self._failed(route, end, transcript.made)
            target = await self._pick(going_on=True)
            live = engine_of(target.engine)
            model = target.upstream_model or self._asked.model
            why = live.why_not(self._asked)
            if why is not None:
                raise CannotResume(why)
            call = SideCall(
                shared.upstream, shared.pool.keys, target, self._client.request_id, shared.rules.side_call_s
            )
            try:
                self._client.write(continued.carry(await settle(transcript, dead, live, call, self._asked, model)))
                left = None if limit is None else limit - len(transcript.ids)
                if continued.watch.hit is not None or (left is not None and left <= 0):
                    self._client.write(continued.nothing_left("length" if continued.watch.hit is None else "stop"))
                    return
                ids = [*(transcript.prompt_ids or ()), *transcript.ids]
                plan = await live.go_on(call, self._asked, model, ids, left)
            except UpstreamFailed as error:
                route, end = target, LegEnd(False, reason=error.reason)
                continue
            continued.handed_over(route.id, target.id)
            self.resumed += 1
            self.at_token = continued.before
            shared.metrics.resumed(self._asked.model, route.id, target.id)
            _, end = await self._fly(
                target,
                lambda flight, read=plan.read: RestLeg(flight, read, self._client, continued),  # type: ignore[misc]  # mypy infers no default
                plan.path,
                orjson.dumps(plan.body),
            )
            self.output_tokens = transcript.made
            with contextlib.suppress(UpstreamFailed):
                await continued.count_to_stop(live, call, model)
            if end.whole and end.status not in _ELSEWHERE and end.status != 200:
                raise CannotResume(f"{target.id} refuses to go on ({end.status})")
            route, dead = target, live

    def _limit(self, dead: Engine) -> int | None:
        if self._asked.max_tokens is not None:
            return self._asked.max_tokens
        return dead.completion_limit if self._asked.kind is Kind.COMPLETIONS else None

    # one attempt

    async def _pick(self, going_on: bool = False) -> Route:
        """The route tried next: one that has not failed this request, else, after a pause, any. Raises Fault."""
        pool, asked, rules = self._shared.pool, self._asked, self._shared.rules
        while True:
            route = pool.pick(asked.model, self._ask, self._avoid)
            if route is None and self._avoid:
                await asyncio.sleep(rules.pause_s)
                route = pool.pick(asked.model, self._ask, self._avoid) or pool.pick(asked.model, self._ask)
            if route is None:
                left = rules.patience_s if not self._deadline else self._deadline - monotonic()
                closed = pool.closed(asked.model)
                if closed is not None and closed.lasts(left):
                    raise Fault(closed.status, closed.code, closed.told, retry_after_s=closed.after_s)
                route = await pool.wait_pick(asked.model, self._ask, timeout_s=max(0.0, left))
            if route is None:
                raise Fault(503, "no_replica", f"no replica of {asked.model} is left", retry_after_s=rules.patience_s)
            if not going_on or engine_of(route.engine).resumes:
                self.route = route
                return route
            if route.id in self._avoid:
                raise CannotResume("no replica is left whose engine can go on with a stream")
            self._avoid |= {route.id}

    def _failed(self, route: Route, end: LegEnd, at_token: int) -> None:
        """An attempt failed: whether there may be another. Raises Fault where not."""
        shared, asked = self._shared, self._asked
        self._avoid |= {route.id}
        now = monotonic()
        self._deadline = self._deadline or now + shared.rules.patience_s
        self._legs += 1 if end.accepted or end.whole else 0
        if end.accepted:
            self._strikes.died(route.id, at_token)
        if self._strikes.poison:
            shared.poison.add(asked.body)
            shared.metrics.poisoned(asked.model)
            raise poisoned(self._strikes.names)
        reason = end.reason or f"status {end.status}"
        if self._legs >= shared.rules.legs or now > self._deadline:
            if end.whole and end.status == 429:
                raise Fault(
                    429, "rate_limited", f"{route.id} is at its host's limit, and nobody else is left", retry_after_s=1
                )
            raise Fault(502, "replicas_failed", f"no replica answered; the last, {route.id}, failed: {reason}")
        if not shared.budget.take():
            raise Fault(503, "retries_used_up", f"{route.id} failed ({reason}), and too much fails to try more")
        if not self._client.started:
            self.retries += 1
            shared.metrics.retried(asked.model, "stalled" if end.stalled else kind_of(end))

    def _body(self, route: Route, extra: dict[str, Any]) -> bytes:
        if route.upstream_model is not None and route.upstream_model != self._asked.model:
            extra = {**extra, "model": route.upstream_model}
        return self._asked.with_fields(extra)

    async def _fly(
        self, route: Route, make: Callable[[Flight], _L], path: str, body: bytes
    ) -> tuple[_L | None, LegEnd]:
        shared, client = self._shared, self._client
        try:
            key = shared.pool.keys.of(route)
            flight = shared.pool.begin(route.id, self._ask, self._asked.model)
        except KeyError:
            return None, LegEnd(False, reason="the route is gone")
        except NoKeyError as error:
            shared.pool.without_key(route.id, error)
            return None, LegEnd(False, reason="its key is missing")
        self.routes.append(route.id)
        trace, headers = client.trace, self._headers
        if trace is not None:
            headers = trace.attempt(route, headers)
        request = request_bytes(route, path, body, headers, client.request_id, key)
        leg, outcome, fresh = None, Outcome.CANCELLED, False
        try:
            while True:
                leg = make(flight)
                end = await self._send(route, leg, request, fresh)
                if not end.stale or fresh:
                    break
                fresh = True
            outcome = outcome_of(end)
            return leg, end
        finally:
            if leg is not None:
                shared.flying.discard(leg)
                if outcome is Outcome.CANCELLED and leg.exchange is not None:
                    leg.exchange.cancel()
            client.flow = None
            if self.ttft_s is None:
                self.ttft_s = flight.first_s
            counts = leg.counts() if isinstance(leg, FirstLeg) and outcome is Outcome.OK else None
            flight.done(outcome, counts[1] if counts else None)
            if trace is not None:
                trace.attempted(outcome, flight, leg.status if leg is not None else 0, self.at_token)

    async def _send(self, route: Route, leg: Leg, request: bytes, fresh: bool) -> LegEnd:
        try:
            leg.exchange = exchange = await self._shared.upstream.connect(route.url, fresh=fresh)
        except UpstreamFailed as error:
            return LegEnd(False, reason=error.reason)
        self._client.flow = leg.flow
        exchange.send(request, leg)
        self._shared.flying.add(leg)
        return await leg.ended
