"""The client library's ways: its classes, its objects as plain JSON, and what must be done about it."""

from __future__ import annotations

import logging
import threading
from typing import Any

from polyfleet.launch.kubernetes.objects import SHARED, WORKLOADS, Object

UNFORESEEN = (OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What the client lets through where a kubeconfig, a login or an answer is not what it expects."""
_CONNECT_S = 10.0
_SILENT_S = 15.0
_GENERIC = {"LeaderWorkerSet": "leaderworkersets"}
"""Kinds that the client does not know of itself, with the plural that they go by in addresses."""
_LEARNING = threading.Lock()


def class_of(kind: str) -> Any:
    """The client's class of a kind."""
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.resources import apps_v1, core_v1, policy_v1

    if kind in _GENERIC:
        group, version = WORKLOADS[kind].split("/")
        return create_namespaced_resource(group, version, kind, _GENERIC[kind])
    return next(found for module in (apps_v1, core_v1, policy_v1) if (found := getattr(module, kind, None)))


def plain(found: Any) -> Object:
    """As JSON says it, without what takes most room and nobody here reads."""
    made: Object = found.to_dict()
    made["metadata"].pop("managedFields", None)
    return made


def one_line(error: BaseException) -> str:
    """Programs that log in, and parsers, say what is wrong in several lines."""
    told = f"there is no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return " ".join(told.split())


def bound_silence(client: Any, watch_s: float) -> None:
    """A watch whose connection is silently dropped must not blind us. The server ends each after `watch_s`; the client
    would read on for ever."""
    import httpx2

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would write a line of each request in the keeper's log
    client._client._watch_timeout = httpx2.Timeout(_CONNECT_S, read=watch_s + _SILENT_S)


def learn_types() -> None:
    """Decode a little of everything, once and alone: msgspec 0.22 crashes the process where two threads decode types
    for the first time at one moment."""
    from lightkube.core import decoders

    with _LEARNING:
        for kind in ("ConfigMap", "Pod", *WORKLOADS, *SHARED):
            decoders.decode_list(b'{"items": []}', class_of(kind))
        event = decoders.decode_watch_event(b'{"type": "ERROR", "object": {}}')
        decoders.decode_status(event.object)
