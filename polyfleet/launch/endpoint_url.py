"""The address of an endpoint as the user or the catalog writes it, taken apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from polyfleet.errors import InputError

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
_PATH = re.compile(r"/[!-~]*[!-~]")
_HINT = "write it as https://host/v1"


class Address(NamedTuple):
    """`url` is scheme, host and port; `path` what the API's paths begin with."""

    url: str
    path: str


def missing_in(template: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """Placeholders of a template that have no value."""
    return tuple(name for name in _PLACEHOLDER.findall(template) if not values.get(name, "").strip())


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders filled in; a value that is written as an address loses its scheme."""

    def value(match: re.Match[str]) -> str:
        return values[match[1]].strip().partition("://")[2].strip("/") or values[match[1]].strip().strip("/")

    return _PLACEHOLDER.sub(value, template)


def address_of(text: str) -> Address:
    """Takes an address apart; `/v1` where it has no path. Raises InputError."""
    if not text.isascii() or any(not "!" <= letter <= "~" for letter in text):
        raise InputError("an address has no spaces and only ASCII", value=text, hint=_HINT)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InputError(f"no address: {error}", value=text, hint=_HINT) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise InputError("no address of an API", value=text, hint=_HINT)
    if parts.username is not None or parts.password is not None:
        raise InputError("an address must not hold a key", value=parts.hostname, hint="use `key_env` or `key_file`")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise InputError("an address without ? and # is wanted", value=text, hint=_HINT)
    path = parts.path.rstrip("/") or "/v1"
    if path.endswith(("/completions", "/responses", "/embeddings", "/messages")):
        raise InputError("the base of the API is wanted, not one of its paths", value=text, hint=_HINT)
    if not _PATH.fullmatch(path):
        raise InputError("no path of an API", value=text, hint=_HINT)
    return Address(f"{parts.scheme}://{parts.netloc}", path)
