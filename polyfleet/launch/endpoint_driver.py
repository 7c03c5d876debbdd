"""The driver of what somebody else runs: nothing is started, it is only known."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from polyfleet.errors import InputError, LaunchError
from polyfleet.files import write_whole
from polyfleet.launch.driver import Alive, Started, StillThereError
from polyfleet.terms.fleet import Replica, ReplicaSpec

_FILE = "endpoints.json"
_HINT = "write the key there, or another `key_env` or `key_file` under `launch: endpoints:`"


class _Known(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    spec: ReplicaSpec
    since: float


class _All(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    endpoints: tuple[_Known, ...] = ()


def without_key(spec: ReplicaSpec, environment: Mapping[str, str]) -> str | None:
    """Where the key that it needs is not, in words; None where it is, or none is needed."""
    if spec.key_env is not None and not environment.get(spec.key_env, "").strip():
        return f"{spec.url} needs a key, and {spec.key_env} is not set"
    if spec.key_file is None:
        return None
    try:
        return None if Path(spec.key_file).read_text().strip() else f"{spec.key_file} holds no key"
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no text"
        return f"{spec.key_file} holds no key: {told}"


class EndpointDriver:
    """Endpoints are kept in a file of the home, so that a keeper that takes over finds them without a gap in the
    routes. Whether they answer is for the gate to see: asking would be billed, or count against a limit."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE
        self._lock = threading.Lock()

    def check(self, specs: Sequence[ReplicaSpec], environment: Mapping[str, str] = os.environ) -> None:
        """Raises InputError where one needs a key that is not there. Nothing is asked of anybody."""
        for spec in specs:
            if (told := without_key(spec, environment)) is not None:
                raise InputError(f"{spec.id}: {told}", hint=_HINT)

    def start(self, spec: ReplicaSpec) -> Started:
        if spec.url is None:
            raise LaunchError(f"{spec.id} has no address; write its `url` under `launch: endpoints:`")
        with self._lock:
            known = self._read()
            if spec.id in known:
                raise StillThereError(f"{spec.id} is known already")
            made = _Known(spec=spec, since=time.time())
            self._write({**known, spec.id: made})
        return Started(0, made.since, spec.url)

    def stop(self, replica: Replica, grace_s: float) -> None:  # noqa: ARG002 - nothing here takes time
        with self._lock:
            known = self._read()
            if known.pop(replica.spec.id, None) is not None:
                self._write(known)

    def list(self) -> Mapping[str, Alive]:
        return {i: Alive(one.spec, 0, one.since, one.spec.url or "") for i, one in self._read().items()}

    def logs(self, replica_id: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:  # noqa: ARG002 - as the protocol says
        known = self._read().get(replica_id)
        if known is None:
            raise LaunchError(f"{replica_id} has no log")
        yield f"{replica_id} runs at {known.spec.url}{known.spec.path} by no doing of polyfleet: its log is its host's"

    def tidy(self) -> None:
        """Nothing grows here."""

    def _read(self) -> dict[str, _Known]:
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LaunchError(f"{self._file} cannot be read: {error.strerror}") from None
        try:
            return {one.spec.id: one for one in _All.model_validate_json(text).endpoints}
        except ValidationError:
            raise LaunchError(f"{self._file} is no list of endpoints; remove it, and `up` writes it anew") from None

    def _write(self, known: Mapping[str, _Known]) -> None:
        if known:
            write_whole(self._file, _All(endpoints=tuple(known.values())).model_dump_json(indent=1))
        else:
            self._file.unlink(missing_ok=True)
