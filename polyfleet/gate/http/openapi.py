"""The gate's own description (OpenAPI 3.1) at /openapi.json: what it checks itself. Other fields pass untouched."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from polyfleet.gate.relay.asked import COUNTS, Kind

_COUNT = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1}
_SHARED = {"model": {"type": "string", "minLength": 1}, "stream": {"type": ["boolean", "null"]}}
_FIELDS: dict[Kind, tuple[list[str], dict[str, Any]]] = {
    Kind.CHAT: (["model", "messages"], {"messages": {"type": "array"}}),
    Kind.COMPLETIONS: (["model", "prompt"], {"prompt": {"type": ["string", "array"]}}),
    Kind.EMBEDDINGS: (["model", "input"], {"input": {"type": ["string", "array"]}}),
    Kind.RESPONSES: (["model"], {}),
}
_UNSOUND = {
    400: "The request is not sound: HTTP, JSON, or a field's type",
    405: "The path takes another method: Allow names it",
    408: "The request did not come in time",
    431: "The head is too large",
}
_REFUSED = {
    401: "There is no such key",
    403: "The key may not ask for this model",
    404: "There is no such model; the message names those there are",
    413: "The body is too large",
    422: "Replicas died with this request on them; it is not tried again",
    429: "A limit is reached: Retry-After tells when it is not any more",
    500: "The gate failed: a defect of its own",
    502: "Replicas failed",
    503: "No replica is there, or too much fails to try more",
}
_FROM_ENGINE = {"4XX": "The engine's own refusal, as it came", "5XX": "The engine's own failure, as it came"}
_JSON, _EVENTS = "application/json", "text/event-stream"


def description() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {kind.value: {"post": _posted(kind)} for kind in Kind}
    for path, (told, kind, form) in _PAGES.items():
        paths[path] = {"get": _got(told, {200: (told, kind, form)})}
    paths["/ready"] = {"get": _got("Whether a replica answers", _READY)}
    paths["/v1/models/{model}"] = {"get": _one_model()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "polyfleet gate", "version": version("polyfleet")},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "key_header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {"Error": _ERROR, "Model": _MODEL},
            "headers": _HEADERS,
        },
    }


def _posted(kind: Kind) -> dict[str, Any]:
    required, fields = _FIELDS[kind]
    counts = dict.fromkeys(COUNTS[kind], _COUNT)
    schema = {"type": "object", "required": required, "properties": {**_SHARED, **fields, **counts}}
    answered: dict[str, Any] = {_JSON: {}, _EVENTS: {}}
    headers = {**_ID, "x-polyfleet-route": {"$ref": "#/components/headers/x-polyfleet-route"}}
    return {
        "summary": _SUMMARIES[kind],
        "security": [{"key": []}, {"key_header": []}],
        "requestBody": {"required": True, "content": {_JSON: {"schema": schema}}},
        "responses": {
            "200": {"description": "The engine's answer", "headers": headers, "content": answered},
            **{str(status): _refusal(status, told) for status, told in {**_UNSOUND, **_REFUSED}.items()},
            **{status: {"description": told, "headers": headers} for status, told in _FROM_ENGINE.items()},
        },
    }


def _got(summary: str, answers: dict[int, tuple[str, str, dict[str, Any]]]) -> dict[str, Any]:
    told = {
        str(status): {"description": described, "headers": _ID, "content": {kind: {"schema": form}}}
        for status, (described, kind, form) in answers.items()
    }
    return {
        "summary": summary,
        "security": [],
        "responses": {**told, **{str(status): _refusal(status, why) for status, why in _UNSOUND.items()}},
    }


def _one_model() -> dict[str, Any]:
    got = _got("One model", {200: ("The model", _JSON, {"$ref": "#/components/schemas/Model"})})
    got["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    got["responses"]["404"] = _refusal(404, _REFUSED[404])
    return got


def _refusal(status: int, told: str) -> dict[str, Any]:
    headers = dict(_ID)
    if status == 429:
        headers["retry-after"] = {"$ref": "#/components/headers/retry-after"}
    if status == 405:
        headers["allow"] = {"$ref": "#/components/headers/allow"}
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": told, "headers": headers, "content": {_JSON: {"schema": schema}}}


_ID = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
_HEADERS: dict[str, Any] = {
    "x-request-id": {
        "description": "The client's own where it is sound, else made; absent where the request's head was not read",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
    },
    "x-polyfleet-route": {"description": "Who answered", "schema": {"type": "string"}},
    "retry-after": {"description": "Seconds; absent where waiting does not help",
                    "schema": {"type": "integer", "minimum": 1}},
    "allow": {"description": "The method", "schema": {"type": "string"}},
}  # fmt: skip
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
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}
_MODEL = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
_MODELS = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
    },
}
_STANDING = {
    "type": "object",
    "required": ["status", "models"],
    "properties": {
        "status": {"enum": ["ready", "no replica", "draining"]},
        "models": {"type": "object", "additionalProperties": {"type": ["integer", "boolean"]}},
    },
}
_READY = {200: ("A replica answers", _JSON, _STANDING), 503: ("None does", _JSON, _STANDING)}
_ALIVE = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
_PAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "/v1/models": ("The models there are", _JSON, _MODELS),
    "/health": ("Whether the gate lives", _JSON, _ALIVE),
    "/metrics": ("For Prometheus", "text/plain", {"type": "string"}),
    "/openapi.json": ("This description", _JSON, {"type": "object"}),
}
_SUMMARIES = {
    Kind.CHAT: "The next message of a conversation",
    Kind.COMPLETIONS: "How a text goes on",
    Kind.EMBEDDINGS: "Vectors of texts",
    Kind.RESPONSES: "A response, where the engine has them",
}
