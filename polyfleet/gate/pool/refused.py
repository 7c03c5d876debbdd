"""The gate's no: what the client is told instead of an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Refused(Exception):
    """A request that the gate does not pass on: HTTP `status`, the `code` and `message` of an OpenAI-form error.

    `retry_after_s` is the truth as far as it can be told: a like request then is let in. None: waiting does not help.
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.message
