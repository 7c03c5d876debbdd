"""Answers under the name that the client asked for, where the engine knows the model by another."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from polyfleet.gate.http.sse import split_events
from polyfleet.gate.relay.asked import Asked, Kind
from polyfleet.terms.route import Route

_MODEL = re.compile(rb'(?<=[{,\s])("model"\s*:\s*)"(?:[^"\\]|\\.)*"')
"""The key in JSON and its text. Within a text quotation marks are escaped, and no colon follows a text."""

Rename = Callable[[bytes], bytes]


def renamer(route: Route, asked: Asked) -> Rename | None:
    """Gives whole events, or a whole answer, the client's name for the model; None where it is the engine's own, too.
    Whatever name the engine says is replaced: hosts answer with a version of the one they were asked for."""
    if route.upstream_model is None or route.upstream_model == asked.model:
        return None
    name = orjson.dumps(asked.model)

    def put(match: re.Match[bytes]) -> bytes:
        return match[1] + name

    if asked.kind is not Kind.RESPONSES:
        return lambda raw: _MODEL.sub(put, raw)

    def first_of_each(raw: bytes) -> bytes:
        """The tools that an answer repeats may name models of their own, after it."""
        if raw.startswith(b"{"):
            return _MODEL.sub(put, raw, count=1)
        return b"".join(_MODEL.sub(put, event, count=1) for event in split_events(raw))

    return first_of_each
