"""Whether a container image can be had, by the registry's own word (OCI distribution: a HEAD of the manifest, with the
anonymous token that the registry offers)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from polyfleet.launch.doctor.finding import Finding

_TIMEOUT_S = 10.0
_KINDS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_NO_RIGHT = (401, 403)


@dataclass(frozen=True, slots=True)
class Image:
    """An image's name, taken apart as Docker does: no host means Docker's hub."""

    host: str
    name: str
    reference: str


def parse_image(text: str) -> Image:
    """The parts of an image's name, such as `HOST/NAME:TAG` or `NAME@DIGEST`."""
    rest, _, digest = text.partition("@")
    first, slash, _ = rest.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host = first if has_host else "index.docker.io"
    name = rest.removeprefix(f"{first}/") if has_host else rest
    name, _, tag = name.partition(":")
    if not has_host and "/" not in name:
        name = f"library/{name}"
    return Image(host, name, digest or tag or "latest")


def look_at_image(text: str, *, scheme: str = "https") -> Finding:
    """Whether its registry has it. What needs a login is unknown: the machines may have one."""
    image = parse_image(text)
    url = f"{scheme}://{image.host}/v2/{image.name}/manifests/{image.reference}"
    try:
        try:
            _head(url)
        except HTTPError as error:
            if error.code != 401:
                raise
            token = _token(error.headers.get("www-authenticate", ""), image)
            if token is None:
                return Finding(text, "image", "unknown", "its registry asks for a login")
            _head(url, token)
    except HTTPError as error:
        if error.code in _NO_RIGHT:
            return Finding(text, "image", "unknown", "its registry asks for a login, or has no such image")
        if error.code == 404:
            return Finding(text, "image", "fails", "its registry has no such image or tag")
        return Finding(text, "image", "unknown", f"its registry answers {error.code}")
    except (URLError, OSError, ValueError, HTTPException) as error:
        told = getattr(error, "reason", None) or error
        return Finding(text, "image", "unknown", f"its registry cannot be asked from here: {told}")
    return Finding(text, "image", "ok", "its registry has it")


def _head(url: str, token: str = "") -> None:
    headers = {"Accept": _KINDS} | ({"Authorization": f"Bearer {token}"} if token else {})
    with urlopen(Request(url, headers=headers, method="HEAD"), timeout=_TIMEOUT_S):
        pass


def _token(challenge: str, image: Image) -> str | None:
    """The token that anybody is given to pull it; None where the registry offers none."""
    told = dict(_CHALLENGE.findall(challenge))
    realm = told.get("realm", "")
    if not challenge.casefold().startswith("bearer") or not realm.startswith(("https://", "http://")):
        return None
    asked = {"service": told.get("service", ""), "scope": told.get("scope") or f"repository:{image.name}:pull"}
    with urlopen(f"{realm}?{urlencode(asked)}", timeout=_TIMEOUT_S) as answer:
        given = json.load(answer)
    token = given.get("token") or given.get("access_token")
    return token if isinstance(token, str) else None
