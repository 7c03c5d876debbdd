"""Requests as no sound client sends them, as raw bytes, and sound ones between them. One seed, one sequence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
KINDS = 24
OVER_LIMIT = 1_600_000
"""Bytes of a body that is larger than the gate of the fuzz takes (1 MiB)."""


class Ends(Enum):
    """What the client does once it has sent everything.

    ANSWERED: it waits; the gate must answer or close. CLOSED: it closes its half; the gate must close, too. GONE: it
    breaks the connection.
    """

    ANSWERED = "answered"
    CLOSED = "closed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Case:
    """`name`: what is wrong with it. `right`: of each answer that must come, in order, the number of the sound request
    (see `sound_body`); empty where the answer may be any but the gate's own failure. `statuses`: what the answer must
    be one of, where that is known."""

    name: str
    raw: bytes
    ends: Ends = Ends.ANSWERED
    right: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()


def sound_body(number: int) -> dict[str, object]:
    """A request that an engine answers; the even ones are streamed."""
    body: dict[str, object] = {"model": "mock", "max_tokens": 4 + number % 5, "temperature": 0}
    body["messages"] = [{"role": "user", "content": f"question {number} é🙂"}]
    return body | ({"stream": True, "stream_options": {"include_usage": True}} if number % 2 == 0 else {})


class Cases:
    """`next(cases)` for ever. `key` is one that the gate knows."""

    def __init__(self, seed: int, key: str) -> None:
        self._chance, self._key = random.Random(seed), key
        self._makers: tuple[tuple[int, Callable[[], Case]], ...] = (
            (300, self._sound),
            (40, self._sound_chunked),
            (40, self._pipelined),
            (30, self._no_key),
            (220, self._odd_json),
            (60, self._bad_text),
            (30, self._pages),
            (140, self._unsound),
            (90, self._mutated),
            (40, self._half),
            (8, self._junk),
            (2, self._giant),
        )

    def __iter__(self) -> Iterator[Case]:
        weights, makers = zip(*self._makers, strict=True)
        while True:
            yield self._chance.choices(makers, weights)[0]()

    def post(self, body: bytes, *lines: str, path: str = PATHS[0], key: bool = True) -> bytes:
        """A POST with a length."""
        return self._head(*lines, f"content-length: {len(body)}", path=path, key=key) + body

    def _head(self, *lines: str, path: str = PATHS[0], key: bool = True) -> bytes:
        shown = (f"authorization: Bearer {self._key}",) if key else ()
        all_lines = [f"POST {path} HTTP/1.1", "host: gate", *shown, "content-type: application/json", *lines]
        return "\r\n".join(all_lines).encode("latin-1") + b"\r\n\r\n"

    # sound

    def _number(self) -> int:
        return self._chance.randrange(KINDS)

    def _sound(self) -> Case:
        number = self._number()
        return Case("sound", self.post(_json(sound_body(number))), right=(number,))

    def _sound_chunked(self) -> Case:
        number = self._number()
        head = self._head("transfer-encoding: chunked")
        return Case("sound, in chunks", head + self._chunked(_json(sound_body(number))), right=(number,))

    def _pipelined(self) -> Case:
        numbers = tuple(self._number() for _ in range(self._chance.randint(2, 6)))
        raw = b"".join(self.post(_json(sound_body(number))) for number in numbers)
        if self._chance.random() < 0.3:
            raw += self._chance.choice((b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"PO ST / HTTP/1.1\r\n\r\n"))
            return Case("pipelined, then junk", raw)
        return Case("pipelined", raw, right=numbers)

    def _chunked(self, body: bytes) -> bytes:
        raw, at = b"", 0
        while at < len(body):
            piece = body[at : at + self._chance.randint(1, 40)]
            at += len(piece)
            extension = self._chance.choice((b"", b"", b";x=1"))
            raw += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
        return raw + b"0\r\n\r\n"

    def _no_key(self) -> Case:
        body = self._chance.choice((_json(sound_body(1)), b"{", b"[]", b'{"model":"mock"}', b"\xff"))
        line = self._chance.choice(("x: y", "authorization: Bearer no", "authorization: ", "x-api-key: no"))
        return Case("no key", self.post(body, line, key=False), statuses=(401,))

    def _pages(self) -> Case:
        path = self._chance.choice(("/health", "/ready", "/v1/models", "/v1/models/mock", "/openapi.json"))
        return Case("page", f"GET {path} HTTP/1.1\r\nhost: g\r\n\r\n".encode(), statuses=(200,))

    # bodies

    def _odd_json(self) -> Case:
        names = ("messages", "prompt", "input", "stream", "stop", "n", "max_tokens", "stream_options", "tools", "seed",
                 "temperature", "logprobs", "response_format", "max_completion_tokens", "model", "top_k", "n_predict",
                 "return_token_ids", "max_output_tokens", "x" * self._chance.randint(1, 30))  # fmt: skip
        body = dict(sound_body(self._number()))
        if self._chance.random() < 0.5:
            body["prompt"] = "x"
        for _ in range(self._chance.randint(1, 4)):
            body[self._chance.choice(names)] = self._value(3)
        if self._chance.random() < 0.2:
            body.pop(self._chance.choice(list(body)))
        whole = body if self._chance.random() < 0.95 else self._value(3)
        return Case("odd fields", self.post(_json(whole), path=self._chance.choice(PATHS)))

    def _value(self, depth: int) -> object:
        chance = self._chance
        if depth and chance.random() < 0.3:
            return [self._value(depth - 1) for _ in range(chance.randint(0, 3))]
        if depth and chance.random() < 0.3:
            keys = ("role", "content", "type", "text", "include_usage", "")
            return {chance.choice(keys): self._value(depth - 1) for _ in range(chance.randint(0, 3))}
        return chance.choice(
            (None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, -(10**30), 1.5, 1e308, -0.0, "", "x", "é\0\n",
             "\U0001f642" * 5, "mock", "user", "text", "data:image/png;base64,AA==", "9" * 200)
        )  # fmt: skip

    def _bad_text(self) -> Case:
        body, chance = _json(sound_body(self._number())), self._chance
        at = chance.randrange(len(body))
        depth = chance.choice((200, 253, 300, 1000, 1025, 20_000))
        made = {
            "broken JSON": body[:at],
            "JSON with a byte changed": body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :],
            "not UTF-8": body.replace(b"question", chance.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88"))),
            "a lone surrogate": body.replace(b"question", rb"\ud800"),
            "deep nesting": body[:-1] + b',"tools":' + b"[" * depth + b"]" * depth + b',"return_token_ids":false}',
            "deep objects": body[:-1] + b',"x":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}",
            "never closed": b"[" * depth,
            "a huge number": body[:-1] + b',"max_tokens":' + b"9" * chance.choice((19, 20, 400, 5000)) + b"}",
            "not a number": body[:-1] + b',"seed":' + chance.choice((b"NaN", b"1e999", b"0x1", b"01", b"-")) + b"}",
            "a name twice": body[:-1] + b',"model":"gone"}',
            "a mark in front": b"\xef\xbb\xbf" + body,
            "nothing": b"",
            "blanks": b" \r\n" * 50,
        }
        name = chance.choice(list(made))
        return Case(name, self.post(made[name]))

    # HTTP

    def _unsound(self) -> Case:
        body, chance, length = _json(sound_body(1)), self._chance, "content-length: "
        size = len(body)
        head, chunks = self._head, "transfer-encoding: chunked"
        made: dict[str, bytes] = {
            "two lengths": head(f"{length}{size}", f"{length}{size + 1}") + body,
            "the same length twice": head(f"{length}{size}", f"{length}{size}") + body,
            "a list of lengths": head(f"{length}{size}, {size}") + body,
            "a length and chunks": head(f"{length}{size}", chunks) + self._chunked(body),
            "chunks and a length": head(chunks, f"{length}4") + self._chunked(body),
            "an odd length": head(length + chance.choice(("-1", "+5", "0x10", "1e3", "9" * 30, "5 5", "", "a"))) + body,
            "an unknown coding": head("transfer-encoding: gzip") + body,
            "chunked not last": head("transfer-encoding: chunked, gzip") + self._chunked(body),
            "chunked twice": head(chunks, chunks) + self._chunked(body),
            "a spelling of chunked": head("transfer-encoding: \x0bchunked") + self._chunked(body),
            "a bad chunk size": head(chunks) + chance.choice((b"zz", b"-1", b"f" * 20, b"0x4", b" ")) + b"\r\n{}\r\n",
            "a bad chunk end": head(chunks) + b"2\r\n{}XX0\r\n\r\n",
            "a chunk too short": head(chunks) + b"5\r\n{}\r\n0\r\n\r\n",
            "a giant chunk extension": head(chunks) + b"2;" + b"x" * 70_000 + b"\r\n{}\r\n0\r\n\r\n",
            "a giant trailer": head(chunks) + b"2\r\n{}\r\n0\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
            "a folded line": head("x: a\r\n b", f"{length}{size}") + body,
            "a NUL in a value": head("x: a\0b", f"{length}{size}") + body,
            "a NUL in a name": head("x\0: a", f"{length}{size}") + body,
            "a bare CR": head("x: a\rb", f"{length}{size}") + body,
            "bare LFs": self.post(body).replace(b"\r\n", b"\n"),
            "a blank before the colon": head(f"content-length : {size}") + body,
            "a line without a colon": head("nocolon", f"{length}{size}") + body,
            "an empty name": head(": x", f"{length}{size}") + body,
            "no host": self.post(body).replace(b"host: gate\r\n", b""),
            "two hosts": head("host: other", f"{length}{size}") + body,
            "an absolute target": self.post(body, path="http://other" + PATHS[0]),
            "an odd target": self.post(body, path=chance.choice(_TARGETS)),
            "another method": self.post(body).replace(b"POST", self._method(), 1),
            "an odd version": self.post(body).replace(b"HTTP/1.1", self._version(), 1),
            "a giant head": self._head("x: " + "y" * 70_000),
            "many lines": self._head(*(f"x{index}: y" for index in range(3_000))),
            "a giant target": self.post(body, path="/" + "a" * 70_000),
            "expectations": self.post(body, "expect: " + chance.choice(("100-continue", "200-ok", "x"))),
            "an upgrade": self.post(body, "upgrade: " + chance.choice(("h2c", "websocket")), "connection: upgrade"),
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
            "a smuggled request": head(f"{length}{size}", chunks) + b"0\r\n\r\nGET /x HTTP/1.1\r\nhost: x\r\n\r\n",
            "an odd key": self.post(body, "authorization: Bearer \xff\xfe", key=False),
            "an odd type": self.post(body, "content-encoding: gzip").replace(b"application/json", b"text/\xe9"),
            "an odd id": self.post(body, "x-request-id: " + chance.choice(("a b", "é", "x" * 5_000, "\t", '"'))),
        }  # fmt: skip
        name = chance.choice(list(made))
        return Case(name, made[name], Ends.CLOSED if name in _MAY_WAIT else Ends.ANSWERED)

    def _method(self) -> bytes:
        return self._chance.choice(
            (
                b"GET",
                b"PUT",
                b"DELETE",
                b"PATCH",
                b"OPTIONS",
                b"TRACE",
                b"CONNECT",
                b"post",
                b"P\0ST",
                b"X" * 300,
                b"HEAD",
            )
        )

    def _version(self) -> bytes:
        return self._chance.choice(
            (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1", b"http/1.1", b"XX", b"")
        )

    def _mutated(self) -> Case:
        """A few bytes of a sound request changed, cut out or doubled. Whether it is whole nobody knows."""
        raw, chance = bytearray(self.post(_json(sound_body(self._number())))), self._chance
        if chance.random() < 0.3:
            raw = bytearray(self._head("transfer-encoding: chunked") + self._chunked(_json(sound_body(1))))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw))
            change = chance.randrange(4)
            if change == 0:
                raw[at] = chance.randrange(256)
            elif change == 1:
                del raw[at : at + chance.randint(1, 8)]
            elif change == 2:
                raw[at:at] = chance.randbytes(chance.randint(1, 8))
            else:
                raw[at:at] = raw[at : at + 40]
        return Case("mutated", bytes(raw), Ends.CLOSED)

    def _half(self) -> Case:
        raw = self.post(_json(sound_body(self._number())))
        if self._chance.random() < 0.3:
            return Case("gone before the answer", raw, Ends.GONE)
        return Case(
            "half a request", raw[: self._chance.randrange(len(raw))], self._chance.choice((Ends.GONE, Ends.CLOSED))
        )

    def _junk(self) -> Case:
        return Case("random bytes", self._chance.randbytes(self._chance.randint(1, 3_000)), Ends.CLOSED)

    def _giant(self) -> Case:
        body = b'{"model":"mock","messages":[{"role":"user","content":"' + b"x" * OVER_LIMIT + b'"}]}'
        if self._chance.random() < 0.5:
            return Case("a giant body", self.post(body), statuses=(413,))
        raw = self._head("transfer-encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return Case("a giant body in chunks", raw, statuses=(413,))


_TARGETS = ("*", "gate:80", "//", "/%00", "/../..", "/a b", "?", "/\xff")
_MAY_WAIT = frozenset({"bare LFs", "an odd length", "an odd version", "another method", "a chunk too short"})
"""What a reader may take for a request whose rest is still to come."""


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
