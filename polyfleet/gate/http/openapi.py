"""The gate's own description (OpenAPI 3.1) at /openapi.json: what it checks itself. Other fields pass untouched."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from polyfleet.gate.relay.asked import Kind

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_COUNT = {"type": ["integer", "null"], "minimum": 0}
_SHARED = {"model": {"type": "string", "minLength": 1}, "stream": {"type": ["boolean", "null"]}}
_MADE = {"max_tokens": _COUNT, "max_completion_tokens": _COUNT, "n": _COUNT}
_FIELDS: dict[Kind, tuple[list[str], dict[str, Any]]] = {
    Kind.CHAT: (["model", "messages"], {"messages": {"type": "array"}, **_MADE}),
    Kind.COMPLETIONS: (["model", "prompt"], {"prompt": {"type": ["string", "array"]}, **_MADE}),
    Kind.EMBEDDINGS: (["model"], {}),
    Kind.RESPONSES: (["model"], {}),
}
_REFUSALS = {
    400: "The request is not sound",
    401: "There is no such key",
    403: "The key may not ask for this model",
    404: "There is no such model",
    408: "The body did not come in time",
    413: "The body is too large",
    422: "Replicas died with this request on them, or the engine refuses it",
    429: "A limit is reached: Retry-After tells when it is not any more",
    502: "Replicas failed",
    503: "No replica is there",
}


def description() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {kind.value: {"post": _posted(kind)} for kind in Kind}
    for path, told in (("/v1/models", "Models"), ("/health", "Whether the gate lives"), ("/metrics", "For Prometheus")):
        paths[path] = {"get": {"summary": told, "responses": {"200": {"description": told}}}}
    ready = {"200": {"description": "A replica answers"}, "503": {"description": "None does"}}
    paths["/ready"] = {"get": {"summary": "Whether a replica answers", "responses": ready}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "polyfleet gate", "version": version("polyfleet")},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _posted(kind: Kind) -> dict[str, Any]:
    required, fields = _FIELDS[kind]
    schema = {"type": "object", "required": required, "properties": {**_SHARED, **fields}}
    answered: dict[str, Any] = {"application/json": {}, "text/event-stream": {}}
    refused = {"application/json": {"schema": _ERROR}}
    return {
        "security": [{"key": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {"description": "The engine's answer", "content": answered},
            **{str(status): {"description": told, "content": refused} for status, told in _REFUSALS.items()},
        },
    }
