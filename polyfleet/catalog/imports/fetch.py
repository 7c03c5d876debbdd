"""The one seam to the network: an address and headers in, an answer as a stream of bytes out."""

from __future__ import annotations

import contextlib
import http.client
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urlsplit

from polyfleet.errors import CatalogError

TIMEOUT_S = 30.0
"""Longest silence of a server, when connecting as when reading."""
TRIES = 5
LONGEST_WAIT_S = 120.0
"""A server that asks for a longer pause is asked again by the user, not by us."""
_CHUNK = 1 << 18
_AGAIN = frozenset({429, 500, 502, 503, 504})
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_AGENT = "polyfleet"


class FetchError(CatalogError):
    """An address that gave no whole answer. `status` is the server's, 0 where none came."""

    status: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sent. `dated` is the day it says the list was last changed (empty = it does not say); `chunks`
    raises FetchError where less arrives than was announced."""

    url: str
    chunks: Iterator[bytes]
    dated: str = ""


class Fetch(Protocol):
    """Asks for an address. Raises FetchError (a CatalogError) that names the address and what was wrong."""

    def __call__(self, url: str, headers: Mapping[str, str] | None = None) -> Answer: ...


def failed(problem: str, url: str, hint: str | None = None, status: int = 0) -> FetchError:
    """A FetchError about an address; what follows `?` is left out of what is shown."""
    error = FetchError(problem, file=url.partition("?")[0], hint=hint)
    error.status = status
    return error


def via_mirror(fetch: Fetch, mirror: str) -> Fetch:
    """A fetch that asks `mirror` for every address: its scheme and host are replaced, path and query stay. Answers bear
    the address that was meant."""
    base = mirror.rstrip("/")
    _check_scheme(base)

    def asked(url: str, headers: Mapping[str, str] | None = None) -> Answer:
        parts = urlsplit(url)
        answer = fetch(base + parts.path + (f"?{parts.query}" if parts.query else ""), headers)
        return replace(answer, url=url)

    return asked


class HttpFetch:
    """Asks over HTTP with the standard library: retries what may pass, unpacks gzip, notices an answer cut short."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S, wait: Callable[[float], None] = time.sleep) -> None:
        self._timeout_s = timeout_s
        self._wait = wait

    def __call__(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET. Asks up to TRIES times on 429, 5xx and broken connections, and waits as the server's
        Retry-After says, else 1, 2, 4, 8 s. Raises FetchError."""
        _check_scheme(url)
        request = urllib.request.Request(
            url, headers={"User-Agent": _AGENT, "Accept-Encoding": "gzip", **(headers or {})}
        )
        for already in range(TRIES):
            try:
                response = _opener(url).open(request, timeout=self._timeout_s)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _AGAIN:
                        raise _refused(error.code, url) from None
                    pause = _pause(error.headers.get("Retry-After"), already)
                    if already + 1 == TRIES or pause > LONGEST_WAIT_S:
                        raise _refused(error.code, url, pause) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                if already + 1 == TRIES:
                    raise failed(f"no answer: {_reason(error)}", url, "is the network up?") from None
                pause = _pause(None, already)
            else:
                return Answer(url, _body(response, url), _day(response.headers.get("Last-Modified")))
            self._wait(pause)
        raise AssertionError("the last try answers or raises")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect on the same host only: keys are not carried elsewhere, and lists do not move in silence."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]  # urllib has no types for it
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            raise failed(
                f"the server sends us on to {newurl.partition('?')[0]}",
                req.full_url,
                "has the list moved? --mirror asks another server",
                code,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Proxies are the environment's, except for this machine itself."""
    local = urlsplit(url).hostname in _LOCAL
    proxies = [urllib.request.ProxyHandler({})] if local else []
    return urllib.request.build_opener(_Redirects, *proxies)


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise failed("is no http or https address", url)


def _refused(status: int, url: str, pause: float = 0.0) -> FetchError:
    if status == 429:
        hint = f"it asks for a pause of {pause:g} s: try again later" if pause else "try again later"
        return failed("the server is asked too often (status 429)", url, hint, status)
    meant = "is the key right, and may it read this?" if status in {401, 403} else None
    return failed(f"the server answers with status {status}", url, meant, status)


def _pause(asked: str | None, already: int) -> float:
    """Seconds to wait: Retry-After in seconds or as a date, else doubling from one second."""
    if asked and re.fullmatch(r"\d+", asked.strip()):
        return float(asked)
    if asked:
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    return float(2**already)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return str(reason) or type(error).__name__


def _day(modified: str | None) -> str:
    with contextlib.suppress(ValueError, TypeError):
        return parsedate_to_datetime(modified or "").date().isoformat()
    return ""


def _body(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    """The answer's bytes, unpacked. Without a length or chunks a cut could not be noticed: that is refused."""
    told = response.headers.get("Content-Length")
    if told is None and not response.chunked:
        with response:
            raise failed("the server does not say how long its answer is", url)
    packed = (response.headers.get("Content-Encoding") or "").lower() == "gzip"
    raw = _raw(response, url, int(told) if told and told.isdigit() else None)
    return _unpacked(raw, url) if packed else raw


def _raw(response: http.client.HTTPResponse, url: str, length: int | None) -> Iterator[bytes]:
    got = 0
    with response:
        try:
            while chunk := response.read(_CHUNK):
                got += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise failed(f"the answer was cut short after {got:,} bytes: {_reason(error)}", url) from None
    if length is not None and got != length:
        raise failed(f"the answer was cut short: {got:,} of {length:,} bytes came", url, "try again")


def _unpacked(chunks: Iterator[bytes], url: str) -> Iterator[bytes]:
    unzip = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            data = chunk
            while data:
                yield unzip.decompress(data, _CHUNK)
                data = unzip.unconsumed_tail
    except zlib.error as error:
        raise failed(f"the answer is no gzip: {error}", url) from None
    if not unzip.eof:
        raise failed("the answer was cut short: its gzip has no end", url, "try again")
