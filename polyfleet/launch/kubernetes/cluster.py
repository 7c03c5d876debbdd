"""The Kubernetes client, behind a handful of calls that take and give plain JSON objects and polyfleet's own errors."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from polyfleet.errors import InputError, LaunchError, MissingExtraError
from polyfleet.launch.kubernetes.objects import Object, Objects
from polyfleet.launch.kubernetes.refusals import AwayError, Place, translated

FIELD_MANAGER = "polyfleet"
_LEARNING = threading.Lock()


class Cluster(Protocol):
    """What is asked of an API server. Kinds: `Deployment`, `Pod`, `ConfigMap` and what an object itself names. Every
    call raises AwayError where asking again can help, LaunchError where it cannot."""

    place: Place

    def apply(self, body: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply under our field manager; the object as it is then."""
        ...

    def create(self, body: Object) -> bool:
        """Make it; False where one of its name is there."""
        ...

    def get(self, kind: str, name: str) -> Object | None: ...

    def list(self, kind: str, labels: Mapping[str, str]) -> tuple[Objects, str]:
        """The objects with these labels, and the version of the store they were read at."""
        ...

    def watch(self, kind: str, labels: Mapping[str, str], version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        """What happens from a version on (`ADDED`, `MODIFIED`, `DELETED`), for so long. Raises GoneError where the
        version is too old."""
        ...

    def delete(self, kind: str, name: str, *, grace_s: int | None = None) -> None:
        """Ask for its end, of what it owns first; nothing where it is gone already."""
        ...

    def log(self, pod: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]: ...


def connect(context: str | None = None, namespace: str | None = None, kubeconfig: Path | None = None) -> Cluster:
    """The API server of a context of the kubeconfig (default: as kubectl would choose), and a namespace (default: the
    context's). Nothing is asked of it yet.

    Raises MissingExtraError without the extra `kubernetes`, InputError where there is no kubeconfig or no such context.
    """
    if importlib.util.find_spec("lightkube") is None:
        raise MissingExtraError("running on Kubernetes", "kubernetes")
    from lightkube import Client, KubeConfig
    from lightkube.core.exceptions import ConfigError

    try:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        if context is not None and context not in config.contexts:
            there = ", ".join(sorted(config.contexts)) or "none"
            raise InputError("the kubeconfig has no such context", value=context, hint=f"there are: {there}")
        single = config.get(context)
        client = Client(single, namespace=namespace, field_manager=FIELD_MANAGER)
    except (ConfigError, OSError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise InputError(
            f"no usable kubeconfig: {error}", hint="set KUBECONFIG, or log in to the cluster as its provider says"
        ) from None
    _learn_types()
    name = (single and single.context_name) or "in-cluster"
    return LightkubeCluster(client, Place(name, client.namespace or "default"))


class LightkubeCluster:
    """A Cluster that asks through lightkube."""

    def __init__(self, client: Any, place: Place) -> None:
        self._client = client
        self.place = place

    def apply(self, body: Object, *, dry_run: bool = False) -> Object:
        from lightkube import codecs

        with self._translated(f"apply {body['kind']} {body['metadata']['name']}"):
            made: Object = self._client.apply(codecs.from_dict(body), dry_run=dry_run).to_dict()
            return made

    def create(self, body: Object) -> bool:
        from lightkube import ApiError, codecs

        with self._translated(f"create {body['kind']} {body['metadata']['name']}"):
            try:
                self._client.create(codecs.from_dict(body))
            except ApiError as error:
                if error.status.reason == "AlreadyExists":
                    return False
                raise
            return True

    def get(self, kind: str, name: str) -> Object | None:
        from lightkube import ApiError

        with self._translated(f"read {kind} {name}"):
            try:
                found: Object = self._client.get(_class(kind), name, namespace=self.place.namespace).to_dict()
            except ApiError as error:
                if error.status.code == 404:
                    return None
                raise
            return found

    def list(self, kind: str, labels: Mapping[str, str]) -> tuple[Objects, str]:
        with self._translated(f"list {kind}s"):
            answer = self._client.list(_class(kind), namespace=self.place.namespace, labels=dict(labels))
            return [found.to_dict() for found in answer], answer.resourceVersion

    def watch(self, kind: str, labels: Mapping[str, str], version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        with self._translated(f"watch {kind}s"):
            for event, found in self._client.watch(
                _class(kind), namespace=self.place.namespace, labels=dict(labels), resource_version=version,
                server_timeout=seconds,
            ):  # fmt: skip
                yield event, found.to_dict()

    def delete(self, kind: str, name: str, *, grace_s: int | None = None) -> None:
        from lightkube import ApiError
        from lightkube.types import CascadeType

        with self._translated(f"delete {kind} {name}"):
            try:
                self._client.delete(
                    _class(kind), name, namespace=self.place.namespace, grace_period=grace_s,
                    cascade=CascadeType.FOREGROUND,
                )  # fmt: skip
            except ApiError as error:
                if error.status.code != 404:
                    raise

    def log(self, pod: str, *, last: int | None = None, follow: bool = False) -> Iterator[str]:
        with self._translated(f"read the log of {pod}"):
            yield from self._client.log(
                pod, namespace=self.place.namespace, follow=follow, tail_lines=last, newlines=False
            )

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        import httpx2
        from lightkube import ApiError
        from lightkube.core.exceptions import ConfigError

        try:
            yield
        except ApiError as error:
            raise translated(
                self.place, doing, error.status.code, error.status.reason or "", error.status.message or ""
            ) from None
        except httpx2.HTTPStatusError as error:
            code = error.response.status_code
            raise translated(self.place, doing, code, "", error.response.reason_phrase) from None
        except httpx2.HTTPError as error:
            told = str(error) or type(error).__name__
            raise AwayError(f"{self.place}: the API server is away, could not {doing}: {told}") from None
        except ConfigError as error:
            raise LaunchError(f"{self.place}: could not {doing}: {error}") from None


def _class(kind: str) -> Any:
    from lightkube.resources import apps_v1, core_v1

    return getattr(apps_v1, kind, None) or getattr(core_v1, kind)


def _learn_types() -> None:
    """Decode a little of everything, once and alone: msgspec 0.22 crashes the process where two threads decode types
    for the first time at one moment."""
    from lightkube.core import decoders

    with _LEARNING:
        for kind in ("ConfigMap", "Deployment", "Pod"):
            decoders.decode_list(b'{"items": []}', _class(kind))
        event = decoders.decode_watch_event(b'{"type": "ERROR", "object": {}}')
        decoders.decode_status(event.object)
