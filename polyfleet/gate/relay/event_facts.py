"""What can be known of events without reading all of them."""

from __future__ import annotations

import re

import orjson

from polyfleet.gate.http.sse import DONE, data_of, split_events

LAST_BYTES = 8192
"""Where in a piece usage and errors are looked for: nothing but `[DONE]` follows them."""

SAID = re.compile(rb'"(?:content|text)":\s?"[^"]')
"""An event that says some text."""
_INPUT = re.compile(rb'"(?:prompt|input)_tokens":\s*(\d+)')
_OUTPUT = re.compile(rb'"(?:completion|output)_tokens":\s*(\d+)')


def is_text(raw: bytes) -> bool:
    """Whether bytes are UTF-8, as all events are."""
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_json(data: bytes | None) -> bool:
    """Whether an event's data can be read: JSON, or the end's mark."""
    if data is None:
        return False
    try:
        return data == DONE or orjson.loads(data) is not None
    except orjson.JSONDecodeError:
        return False


def usage_in(raw: bytes) -> tuple[int, int] | None:
    """Input and output tokens of the last usage told in some JSON; None where there is none."""
    at = raw.rfind(b'"usage":')
    asked = _INPUT.search(raw, at) if at >= 0 else None
    if asked is None:
        return None
    made = _OUTPUT.search(raw, at)
    return int(asked[1]), int(made[1]) if made else 0


def without_usage(raw: bytes) -> bytes:
    """Whole events without those that tell usage and nothing else; only the events that name it are looked at."""
    if b"\r" in raw:
        return b"".join(event for event in split_events(raw) if not (b'"usage":{' in event and _only_usage(event)))
    at = raw.find(b'"usage":{', -LAST_BYTES)
    while at >= 0:
        before, end = raw.rfind(b"\n\n", 0, at), raw.find(b"\n\n", at) + 2
        start = before + 2 if before >= 0 else 0
        if _only_usage(raw[start:end]):
            raw, end = raw[:start] + raw[end:], start
        at = raw.find(b'"usage":{', end)
    return raw


def _only_usage(event: bytes) -> bool:
    try:
        told = orjson.loads(data_of(event) or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and told.get("choices") == [] and isinstance(told.get("usage"), dict)


def error_in(data: bytes | None) -> str | None:
    """Code and message of an error event; None where it is none."""
    if data is None or b'"error"' not in data:
        return None
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    error = told.get("error") if isinstance(told, dict) else None
    if not error:
        return None
    return f"{error.get('code', 500)}: {error.get('message', 'error')}" if isinstance(error, dict) else f"500: {error}"
