"""The Kubernetes client, behind a handful of calls that take and give plain JSON objects and polyfleet's own errors."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from polyfleet.errors import InputError, LaunchError, MissingExtraError
from polyfleet.launch.kubernetes.client import UNFORESEEN, bound_silence, class_of, learn_types, one_line, plain
from polyfleet.launch.kubernetes.objects import Object, Objects
from polyfleet.launch.kubernetes.refusals import NO_KIND, AwayError, Place, translated

FIELD_MANAGER = "polyfleet"
WATCH_S = 60
"""A watch is ended by the server after so long, and begun anew."""


class Cluster(Protocol):
    """What is asked of an API server. Kinds: `Pod`, `ConfigMap`, and those of `objects.WORKLOADS` and `.SHARED`. Every
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

    def close(self) -> None:
        """Let go of connections, watches among them."""
        ...


def connect(context: str | None = None, namespace: str | None = None, kubeconfig: Path | None = None) -> Cluster:
    """The API server of a context of the kubeconfig (default: as kubectl would choose), and a namespace (default: the
    context's). Nothing is asked of it yet.

    Raises MissingExtraError without the extra `kubernetes`, InputError where there is no kubeconfig or no such context.
    """
    if importlib.util.find_spec("lightkube") is None:
        raise MissingExtraError("running on Kubernetes", "kubernetes")
    from lightkube import Client, KubeConfig
    from lightkube.core.exceptions import ConfigError
    from yaml import YAMLError

    try:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        if context is not None and context not in config.contexts:
            there = ", ".join(sorted(config.contexts)) or "none"
            raise InputError("the kubeconfig has no such context", value=context, hint=f"there are: {there}")
        single = config.get(context)
        client = Client(single, namespace=namespace, field_manager=FIELD_MANAGER)
    except (ConfigError, YAMLError, *UNFORESEEN) as error:
        raise InputError(
            f"no usable kubeconfig: {one_line(error)}",
            hint="set KUBECONFIG, or log in to the cluster as its provider says",
        ) from None
    bound_silence(client, WATCH_S)
    learn_types()
    name = (single and single.context_name) or "in-cluster"
    return LightkubeCluster(client, Place(name, client.namespace or "default"))


class LightkubeCluster:
    """A Cluster that asks through lightkube."""

    def __init__(self, client: Any, place: Place) -> None:
        self._client = client
        self.place = place

    def apply(self, body: Object, *, dry_run: bool = False) -> Object:
        with self._translated(f"apply {body['kind']} {body['metadata']['name']}"):
            return plain(self._client.apply(class_of(body["kind"]).from_dict(body), dry_run=dry_run))

    def create(self, body: Object) -> bool:
        from lightkube import ApiError

        with self._translated(f"create {body['kind']} {body['metadata']['name']}"):
            try:
                self._client.create(class_of(body["kind"]).from_dict(body))
            except ApiError as error:
                if error.status.reason == "AlreadyExists":
                    return False
                raise
            return True

    def get(self, kind: str, name: str) -> Object | None:
        from lightkube import ApiError

        with self._translated(f"read {kind} {name}"):
            try:
                return plain(self._client.get(class_of(kind), name, namespace=self.place.namespace))
            except ApiError as error:
                if error.status.code == 404:
                    return None
                raise

    def list(self, kind: str, labels: Mapping[str, str]) -> tuple[Objects, str]:
        with self._translated(f"list {kind}s"):
            answer = self._client.list(class_of(kind), namespace=self.place.namespace, labels=dict(labels))
            return [plain(found) for found in answer], answer.resourceVersion

    def watch(self, kind: str, labels: Mapping[str, str], version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        with self._translated(f"watch {kind}s"):
            for event, found in self._client.watch(
                class_of(kind), namespace=self.place.namespace, labels=dict(labels), resource_version=version,
                server_timeout=seconds,
            ):  # fmt: skip
                yield event, plain(found)

    def delete(self, kind: str, name: str, *, grace_s: int | None = None) -> None:
        from lightkube import ApiError
        from lightkube.types import CascadeType

        with self._translated(f"delete {kind} {name}"):
            try:
                self._client.delete(
                    class_of(kind), name, namespace=self.place.namespace, grace_period=grace_s,
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

    def close(self) -> None:
        self._client.close()

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
            raise self._no_status(doing, error) from None
        except httpx2.HTTPError as error:
            told = str(error) or type(error).__name__
            raise AwayError(f"{self.place}: the API server is away, could not {doing}: {told}") from None
        except FileNotFoundError as error:
            raise LaunchError(
                f"{self.place}: could not {doing}: the program {error.filename} that logs in is not installed"
            ) from None
        except (ConfigError, *UNFORESEEN) as error:
            if isinstance(error.__context__, httpx2.HTTPStatusError):  # an answer that the client stumbles over
                raise self._no_status(doing, error.__context__) from None
            raise LaunchError(f"{self.place}: could not {doing}: {one_line(error)}") from None

    def _no_status(self, doing: str, error: Any) -> LaunchError:
        """Where something answers without a Status: a proxy, or the API server for a group that it does not know."""
        code = error.response.status_code
        return translated(self.place, doing, code, "", NO_KIND if code == 404 else error.response.reason_phrase)
