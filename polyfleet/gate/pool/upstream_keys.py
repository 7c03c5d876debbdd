"""Keys of upstreams: out of the environment or a file, read when they are used, never kept anywhere else."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from polyfleet.terms.route import Route

_LOG = logging.getLogger("polyfleet.gate")
_MOST_BYTES = 64 * 1024


class NoKeyError(Exception):
    """A route's key is not there; says what is missing, never what is in it."""


class UpstreamKeys:
    """Finds a route's key. A file is read again when it changes, so that a key can be changed while the gate runs."""

    def __init__(self, environment: Mapping[str, str] = os.environ, warn: Callable[[str], None] | None = None) -> None:
        self._environment = environment
        self._warn = warn or _LOG.warning
        self._files: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._warned: set[str] = set()

    def of(self, route: Route) -> str | None:
        """The key that goes to this route; None where it takes none. Raises NoKeyError."""
        if route.key_file is not None:
            return _sound(self._from_file(route.key_file), f"the file {route.key_file}")
        if route.key_env is not None:
            name = f"the environment variable {route.key_env}"
            return _sound(self._environment.get(route.key_env, ""), name)
        return None

    def _from_file(self, name: str) -> str:
        try:
            found = Path(name).stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._files.get(name)
            if known is not None and known[0] == stamp:
                return known[1]
            if found.st_size > _MOST_BYTES:
                raise NoKeyError(f"the file {name} is too large for a key ({found.st_size} bytes)")
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise NoKeyError(f"the file {name} with its key cannot be read: {why}") from None
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and name not in self._warned:
            self._warned.add(name)
            self._warn(f"{name} holds a key and others may read it: chmod 600 {name}")
        self._files[name] = (stamp, text)
        return text


def _sound(text: str, where: str) -> str:
    key = text.strip()
    if not key:
        raise NoKeyError(f"{where} holds no key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise NoKeyError(f"{where} holds something that can be no key: one word of ASCII is wanted")
    return key
