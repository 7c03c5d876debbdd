"""A fetch without a network: addresses and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyfleet.catalog.imports.fetch import Answer, failed

_CHUNK = 1000


class FakeFetch:
    """Answers from a table of addresses, in small chunks; an address it does not have answers with status 404.

    A value that is an exception is raised. `asked` lists the addresses in order, `headers` what came with each.
    """

    def __init__(self, pages: Mapping[str, bytes | Exception], *, dated: str = "") -> None:
        self.pages = dict(pages)
        self.dated = dated
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    def __call__(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        self.asked.append(url)
        self.headers.append(dict(headers or {}))
        page = self.pages.get(url, failed("the server answers with status 404", url, status=404))
        if isinstance(page, Exception):
            raise page
        return Answer(url, _chunks(page), self.dated)


def _chunks(page: bytes) -> Iterator[bytes]:
    for start in range(0, len(page), _CHUNK):
        yield page[start : start + _CHUNK]
