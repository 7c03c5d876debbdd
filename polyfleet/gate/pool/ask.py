"""What the pool must know of a request, and how its attempt ended."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Ask(NamedTuple):
    """A request's size. `input_tokens` as far as it is known before the engine counts; `output_tokens` the client's
    limit, None where it set none; `conversation` equal for requests that share a prefix, None where nothing does."""

    input_tokens: float
    output_tokens: float | None = None
    conversation: str | None = None


class Outcome(StrEnum):
    """How one attempt on one route ended, for that route.

    OK: it answered, be it with a 4xx that is the client's own fault. FAILED: connection refused or broken, 5xx, an
    error event. STALLED: no byte for too long. CANCELLED: the client went away; says nothing about the route. REFUSED:
    the route said 429 or 503: alive and full.
    """

    OK = "ok"
    FAILED = "failed"
    STALLED = "stalled"
    CANCELLED = "cancelled"
    REFUSED = "refused"
