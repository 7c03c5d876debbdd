"""Errors in OpenAI's form, as an answer of its own and as an event within a stream."""

from __future__ import annotations

import orjson

from polyfleet.gate.http.sse import event_of

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


def fault_body(status: int, code: str, message: str, param: str | None = None) -> bytes:
    """The JSON that OpenAI's clients know: `{"error": {message, type, param, code}}`."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def fault_event(status: int, code: str, message: str) -> bytes:
    """The last event of a stream that cannot go on. `[DONE]` does not follow: the answer is not done."""
    return event_of(fault_body(status, code, message))


class Fault(Exception):
    """The client's request cannot be answered: `status` and an OpenAI-form error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_s, self.allow = retry_after_s, allow

    @property
    def body(self) -> bytes:
        return fault_body(self.status, self.code, self.message, self.param)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-type", b"application/json")]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, -(-self.retry_after_s // 1))))
        if self.allow is not None:
            headers.append((b"allow", self.allow.encode()))
        return headers
