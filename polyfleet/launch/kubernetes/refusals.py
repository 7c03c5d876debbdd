"""What the API server's refusals mean, in one line that tells what to do."""

from __future__ import annotations

from dataclasses import dataclass

from polyfleet.errors import LaunchError

_AWAY_CODES = (None, 408, 429, 500, 502, 503, 504)

NO_KIND = "the server could not find the requested resource"
"""What a Status says of an address that is no kind's; where the whole group is unknown there is not even a Status."""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a context of the kubeconfig."""

    context: str
    namespace: str

    def __str__(self) -> str:
        return f"kubernetes {self.context}/{self.namespace}"


class AwayError(LaunchError):
    """The API server is away, busy or out of order: what was asked may or may not have been done; ask again."""

    can_retry = True


class GoneError(LaunchError):
    """The watch is too old to be continued: list anew."""

    can_retry = True


class NoKindError(LaunchError):
    """The cluster has no objects of this kind: what defines them is not installed."""


def translated(place: Place, doing: str, code: int | None, reason: str, message: str) -> LaunchError:
    """The error for an answer: its status code, and the reason and message of its Status."""
    message = " ".join(message.split())
    if code == 410:
        return GoneError(f"{place}: {message}")
    if code == 404 and message.startswith(NO_KIND):
        told = f"the cluster has no such kind of object: could not {doing}"
        hint = "; LeaderWorkerSet is installed apart (sigs.k8s.io/lws)" if "LeaderWorkerSet" in doing else ""
        return NoKindError(f"{place}: {told}{hint}")
    if code in _AWAY_CODES:
        told = f" ({message})" if message else ""
        return AwayError(f"{place}: the API server answers {code} and could not {doing}{told}")
    return LaunchError(f"{place}: {_told(doing, code, reason, message)}")


def _told(doing: str, code: int | None, reason: str, message: str) -> str:
    told = f"could not {doing}: {message or reason or code}"
    if code == 401:
        told = "the API server does not know this user; log in anew"
    elif code == 403 and "exceeded quota" in message:
        told = f"the namespace's quota is used up, {told}"
    elif code == 403:
        told = f"no right to {doing}: {message}; the Role it needs is in docs/clouds.md"
    elif code == 404 and message.startswith("namespaces "):
        told = "there is no such namespace; make it, or name another"
    elif code == 409 and reason == "Conflict":
        told = f"could not {doing}, somebody else changes it: {message}"
    return told
