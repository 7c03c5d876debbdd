"""Which headers pass the gate. The client's key never goes up; what the engine says of itself never comes back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_UP = (
    "accept",
    "accept-language",
    "content-type",
    "traceparent",
    "tracestate",
    "baggage",
    "openai-beta",
    "user-agent",
    "idempotency-key",
)
"""A list of what may pass, not of what may not: a header that nobody thought of stays here."""

_BACK = frozenset({b"content-type", b"retry-after", b"openai-processing-ms", b"x-ratelimit-limit-tokens"})
_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def upward(headers: Mapping[str, str], host: str, request_id: str, key: str | None, length: int) -> bytes:
    """The head's lines of a request to an engine, from `host` to the empty line."""
    lines = [f"host: {host}"]
    for name in _UP:
        value = headers.get(name)
        if value is not None and value.isprintable():
            lines.append(f"{name}: {value}")
    if "content-type" not in headers:
        lines.append("content-type: application/json")
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    lines.append(f"x-request-id: {request_id}\r\ncontent-length: {length}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "replace")


def back(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Of an engine's headers those that the client gets."""
    return [(name, value) for name, value in headers if name in _BACK]


def request_id_of(headers: Mapping[str, str], made: str) -> str:
    """The client's own `x-request-id` where it is harmless, else the one that was made."""
    given = headers.get("x-request-id")
    return given if given is not None and _SAFE_ID.fullmatch(given) else made
