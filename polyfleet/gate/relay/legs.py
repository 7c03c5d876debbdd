"""One attempt at one stream: takes an engine's bytes as they come, gives the client whole events."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from polyfleet.gate.engines import Engine
from polyfleet.gate.http.client import Client
from polyfleet.gate.http.sse import EventCutter, EventTooLong, data_of, each_event, split_events
from polyfleet.gate.http.upstream import UpstreamFailed
from polyfleet.gate.pool.flight import Flight
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.gate.relay.event_facts import LAST_BYTES, SAID, error_in, is_json, is_text, usage_in, without_usage
from polyfleet.gate.relay.leg import Leg, LegEnd
from polyfleet.gate.relay.model_name import Rename
from polyfleet.gate.relay.resume import Continued
from polyfleet.gate.relay.transcript import EventReader, Transcript

_FOLD_BYTES = 256 * 1024
"""Raw events kept before they are folded into the transcript, which is a tenth of their size."""


class FirstLeg(Leg):
    """The stream as the first replica sends it: bytes pass with nothing parsed but the first event and the last."""

    def __init__(
        self, flight: Flight, asked: Asked, engine: Engine, client: Client, transcript: Transcript,
        start: Callable[[], None], rename: Rename | None = None,
    ) -> None:  # fmt: skip
        super().__init__(flight)
        self._asked, self._engine, self._client, self.transcript = asked, engine, client, transcript
        self._start, self._rename = start, rename
        self._cutter = EventCutter()
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._held = b""
        self._tokens = asked.kind in {Kind.CHAT, Kind.COMPLETIONS}
        self._strip_usage = self._tokens and not asked.wants_usage
        self._streams = False
        self.refused = False

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        super().head(status, headers)
        self._streams = status == 200 and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )

    def body(self, data: bytes) -> None:
        if not self._streams:
            self._plain.append(data)
            self.flight.tokens(0)
            return
        if self.ended.done():
            return
        try:
            raw = self._cutter.feed(data)
        except EventTooLong:
            self.break_off(LegEnd(False, reason="an event without end", accepted=True))
            return
        if not raw:
            self.flight.tokens(0)
            return
        if self._rename is not None:
            raw = self._rename(raw)
        if not self._may_pass(raw):
            return
        self._keep(raw)
        out = self._engine.clean(raw, self._asked)
        if self._strip_usage and out.find(b'"usage":{', -LAST_BYTES) >= 0:
            out = without_usage(out)
        if not self._client.started and not self._begin(raw):
            self._held += out
            self.flight.tokens(0)
            return
        flight = self.flight
        if flight.first_s is None:
            flight.first_byte()
            out = self._held + out
        flight.tokens(raw.count(b"\n") // 2 or 1)
        self._client.write(out, last=self.done)

    def _begin(self, raw: bytes) -> bool:
        """Whether something has been said: until then the request can still go elsewhere as a whole."""
        if self._tokens and SAID.search(raw):
            self._start()
            return True
        for event in each_event(raw) if self._tokens else ():
            data = data_of(event)
            if data is None or not data.startswith(b"{"):
                if data is not None:
                    break
                continue
            try:
                piece = self._engine.read(orjson.loads(data))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, IndexError):
                break
            if piece.text or piece.beyond or piece.finish or piece.usage or piece.error:
                break
        else:
            if self._tokens:
                return False
        self._start()
        return True

    def _sound(self, raw: bytes) -> bool:
        """False where an error event ended the leg; what came before it has passed."""
        said: list[bytes] = []
        for event in split_events(raw):
            reason = error_in(data_of(event))
            if reason is not None and reason.startswith("4"):
                self.refused = True  # the client's own fault: told as it is, and no other replica is asked
            elif reason is not None:
                if said:
                    self._pass_rest(b"".join(said))
                self.break_off(LegEnd(False, reason=reason, accepted=True))
                return False
            said.append(event)
        return True

    def _may_pass(self, raw: bytes) -> bool:
        """False where something in it ended the leg; what came before that has passed."""
        if not is_text(raw):
            self._pass_sound(raw)
            return False
        return raw.find(b'"error"', -LAST_BYTES) < 0 or self._sound(raw)

    def _pass_sound(self, raw: bytes) -> None:
        """Bytes were changed on the way: the events before them are the answer's, and pass."""
        said: list[bytes] = []
        for event in split_events(raw):
            if not is_json(data_of(event)):
                break
            said.append(event)
        if said:
            self._pass_rest(b"".join(said))
        self.break_off(LegEnd(False, reason="an event that cannot be read", accepted=True))

    def _pass_rest(self, raw: bytes) -> None:
        """Whole events that came in one piece with an error: they are the answer's, and pass."""
        self._keep(raw)
        if self._client.started or self._begin(raw):
            self._client.write(self._held + self._engine.clean(raw, self._asked))
            self._held = b""

    def _keep(self, raw: bytes) -> None:
        self._kept.append(raw)
        self._kept_bytes += len(raw)
        if self._kept_bytes > _FOLD_BYTES:
            self.fold()

    def fold(self) -> Transcript:
        """Read what was kept."""
        raw, self._kept, self._kept_bytes = b"".join(self._kept), [], 0
        self.transcript.feed(raw, self._engine.read)
        return self.transcript

    def counts(self) -> tuple[int, int] | None:
        """Input and output tokens as the engine's last events tell them; None where they do not."""
        for raw in self._kept[:-4:-1]:
            found = usage_in(raw)
            if found is not None:
                return found
        return None

    @property
    def done(self) -> bool:
        """Whether the engine said that this was all."""
        if self.refused:
            return True
        last = self._kept[-1] if self._kept else b""
        if self._asked.kind is Kind.RESPONSES:
            return any(b'"response.%b"' % name in last for name in (b"completed", b"incomplete", b"failed"))
        return last.endswith((b"data: [DONE]\n\n", b"data:[DONE]\n\n"))

    def end(self) -> None:
        if self._streams and not self.done and self.fold().finish is None:
            self.close(LegEnd(False, reason="the stream ended without an end", accepted=True))
        else:
            super().end()

    def failed(self, error: UpstreamFailed) -> None:
        if self._streams and (self.done or self.fold().finish is not None):
            super().end()  # all was said; only the connection's end was not clean
        else:
            super().failed(error)


class RestLeg(Leg):
    """The stream as another replica goes on with it: every event is read and written anew."""

    def __init__(self, flight: Flight, read: EventReader, client: Client, continued: Continued) -> None:
        super().__init__(flight)
        self._read, self._client, self._continued = read, client, continued
        self._cutter = EventCutter()

    def body(self, data: bytes) -> None:
        if self.status != 200:
            self._plain.append(data)
            return
        if self.ended.done():
            return
        try:
            raw = self._cutter.feed(data)
            self._pass(raw)
        except (EventTooLong, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, IndexError) as error:
            self.break_off(
                LegEnd(False, reason=f"an event that cannot be read ({type(error).__name__})", accepted=True)
            )

    def _pass(self, raw: bytes) -> None:
        out: list[bytes] = []
        made = 0
        for event in split_events(raw):
            data = data_of(event)
            if data is None or not data.startswith(b"{"):
                continue
            piece = self._read(orjson.loads(data))
            if piece.error is not None:
                self._tell(out, made)
                self.break_off(LegEnd(False, reason=piece.error, accepted=True))
                return
            out.append(self._continued.feed(piece))
            made += len(piece.ids)
            if self._continued.watch.hit is not None:
                self._tell(out, made)
                self.break_off(LegEnd(True, 200))  # the engine knows nothing of the stop string: it would go on
                return
        self._tell(out, made)

    def _tell(self, out: list[bytes], made: int) -> None:
        said = b"".join(out)
        if self.flight.first_s is None and made:
            self.flight.first_byte()
        self.flight.tokens(made)
        if said:
            self._client.write(said)

    def end(self) -> None:
        if self.status == 200 and self._continued.finish is None:
            self.close(LegEnd(False, reason="the stream ended without an end", accepted=True))
            return
        super().end()
