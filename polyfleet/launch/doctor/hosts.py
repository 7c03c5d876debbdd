"""Whether an endpoint answers and knows its key: a list of its models is asked for, which no host bills."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from polyfleet.launch.doctor.finding import Finding, Verdict
from polyfleet.launch.endpoint_driver import without_key
from polyfleet.terms.fleet import ReplicaSpec

_TIMEOUT_S = 10.0
_MOST_BYTES = 1 << 22


class _NoRedirect(HTTPRedirectHandler):
    """Another address is another host: it must not be sent the key."""

    def redirect_request(self, *_asked: object, **_more: object) -> None:
        return None


_OPENER = build_opener(_NoRedirect, ProxyHandler({}))
"""As the gate asks: of the host itself, through no proxy."""


def look_at_endpoint(spec: ReplicaSpec, environment: Mapping[str, str]) -> Finding:
    """Its key is there, it answers, it takes the key, and it lists the model."""
    if (told := without_key(spec, environment)) is not None:
        return Finding(spec.id, "endpoint", "fails", told)
    key = _key(spec, environment)
    if key is not None and not all("!" <= letter <= "~" for letter in key):
        where = spec.key_env or spec.key_file
        return Finding(spec.id, "endpoint", "fails", f"{where} holds no key: it has spaces, lines or more than ASCII")
    try:
        models = _models(spec, key)
    except HTTPError as error:
        verdict, told = _refused(spec, error.code)
        return Finding(spec.id, "endpoint", verdict, told)
    except (URLError, OSError, ValueError, HTTPException) as error:
        told = f"{spec.url} does not answer: {getattr(error, 'reason', None) or error}"
        return Finding(spec.id, "endpoint", "unknown", told)
    wanted = spec.upstream_model
    if wanted is not None and models and wanted not in models:
        return Finding(spec.id, "endpoint", "unknown", f"{spec.url} answers, and its list does not name {wanted}")
    return Finding(spec.id, "endpoint", "ok", f"{spec.url} answers")


def _refused(spec: ReplicaSpec, code: int) -> tuple[Verdict, str]:
    if code in (401, 403):
        return "fails", f"{spec.url} refuses the key ({code})"
    if code == 404:
        return "unknown", f"{spec.url} answers, and lists no models at {spec.path}/models"
    if 300 <= code < 400:
        return "unknown", f"{spec.url} answers {code}, and names another address: write that as its `url`"
    return "unknown", f"{spec.url} answers {code}"


def _key(spec: ReplicaSpec, environment: Mapping[str, str]) -> str | None:
    if spec.key_env is not None:
        return environment[spec.key_env].strip()
    return None if spec.key_file is None else Path(spec.key_file).read_text().strip()


def _models(spec: ReplicaSpec, key: str | None) -> set[str]:
    """Names in its OpenAI list; empty where what it answers is none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with _OPENER.open(Request(f"{spec.url}{spec.path}/models", headers=headers), timeout=_TIMEOUT_S) as answer:
        body = answer.read(_MOST_BYTES)
    try:
        return {str(model["id"]) for model in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError):
        return set()
