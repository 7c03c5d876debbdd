"""What SkyPilot's errors mean: kinds of refusal, and one line that tells what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polyfleet.errors import LaunchError

_BEFORE = re.compile(r"^[A-Z] \d\d-\d\d [\d:.]+ (PID=\d+ )?\S+:\d+\] (\w+: Attempt failed with )?")
"""What SkyPilot's log writes before a line."""
_WORDS = 300


class Refusal(StrEnum):
    """Why a machine was not had. PRICE is none: it was had, at another price than planned."""

    CREDENTIALS = "no credentials"
    QUOTA = "quota"
    CAPACITY = "capacity"
    RIGHTS = "no right"
    UNKNOWN_MACHINE = "no such machine"
    PRICE = "price changed"
    AWAY = "cloud away"
    SETUP = "setup failed"
    OTHER = "refused"


_PASSES = (Refusal.CAPACITY, Refusal.AWAY)
_SIGNS: Sequence[tuple[Refusal, str]] = (
    (Refusal.QUOTA, r"quota|(?<!request)limit ?exceeded|maxspotinstancecount|maximum number of"),
    (
        Refusal.CAPACITY,
        r"insufficient\w*capacity|capacity-not-available|no capacity|sufficient capacity|out of (stock|capacity)"
        r"|resource_pool_exhausted|stockout|zone_resource_pool|skunotavailable|not enough (resources|capacity)"
        r"|overconstrained\w*allocation|spotmaxprice",
    ),
    (
        Refusal.CREDENTIALS,
        r"authfailure|invalidclienttokenid|expiredtoken|not enabled|no ?credential|unrecognizedclient|401 unauthorized"
        r"|invalid_grant|could not validate the provided access|cloud access is not set up|credentials",
    ),
    (Refusal.RIGHTS, r"unauthorizedoperation|accessdenied|not authorized|permission denied|403 forbidden"),
    (
        Refusal.UNKNOWN_MACHINE,
        r"invalid region|invalid zone|no instance type|instance type .* not (found|supported)"
        r"|not supported in your requested|unsupported: the requested configuration"
        r"|invalidparametervalue|no launchable resource|no image found|catalog does not",
    ),
    (
        Refusal.AWAY,
        r"internal ?(server)? ?error|internalerror|service ?unavailable|requestlimitexceeded"
        r"|throttl|bad gateway|connection (refused|reset|aborted)|timed? ?out|max retries exceeded",
    ),
)  # fmt: skip
_LOST = (
    "ApiServerConnectionError", "ServerTemporarilyUnavailableError", "ConnectionError", "ReadTimeout",
    "ConnectTimeout", "ChunkedEncodingError", "JSONDecodeError",
)  # fmt: skip
_SERVERS = (*_LOST, "RequestInterruptedError", "RequestCancelled")
_TYPES = {
    "CommandError": Refusal.SETUP, "ClusterSetUpError": Refusal.SETUP, "ClusterNotUpError": Refusal.AWAY,
    "ClusterStatusFetchingError": Refusal.AWAY, "NoCloudAccessError": Refusal.CREDENTIALS,
    "InvalidCloudCredentials": Refusal.CREDENTIALS, "CloudUserIdentityError": Refusal.CREDENTIALS,
    "NetworkError": Refusal.AWAY, **dict.fromkeys(_SERVERS, Refusal.AWAY),
}  # fmt: skip
_ADVICE = {
    Refusal.CREDENTIALS: "log in to the cloud, then see `sky check`",
    Refusal.QUOTA: "ask the cloud for more, or let the plan take another offer",
    Refusal.CAPACITY: "it is asked for again; more offers in the plan help",
    Refusal.RIGHTS: "give the account that right",
    Refusal.UNKNOWN_MACHINE: "is the plan's catalog old? `polyfleet catalog refresh`, then plan anew",
    Refusal.AWAY: "it is asked again",
    Refusal.SETUP: "see `polyfleet logs`",
    Refusal.OTHER: "see `sky api logs`",
    Refusal.PRICE: "`polyfleet catalog refresh`, then plan anew",
}  # fmt: skip


class AwayError(LaunchError):
    """SkyPilot or a cloud is away: what was asked may or may not have been done; ask again."""

    can_retry = True


class EngineError(LaunchError):
    """SkyPilot's own refusal. `type` is the name of its exception, `words` what it and the cloud said, the cloud's
    first."""

    def __init__(self, kind: str, message: str, history: Sequence[str] = (), said: str = "") -> None:
        self.type, self.words = kind, "\n".join(filter(None, (said, *history, message)))
        told = _line(self.words) or " ".join(kind.split())
        super().__init__(f"sky: SkyPilot's API server does not answer ({kind})" if kind in _LOST else f"sky: {told}")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> EngineError:
        """From the engine's answer."""
        history = [str(each.get("message", "")) for each in told.get("history") or ()]
        return cls(str(told.get("kind", "")), str(told.get("message", "")), history, str(told.get("said", "")))

    @property
    def is_skypilots(self) -> bool:
        """Whether SkyPilot's own API server failed, and not a cloud: what it was doing may be half done."""
        return self.type in _SERVERS

    @property
    def refusal(self) -> Refusal:
        return refusal_of(self.type, self.words)


@dataclass(frozen=True, slots=True)
class Fact:
    """A refusal as it is kept: when (UTC seconds), which offer, why, and in whose words."""

    at: float
    offer: str
    kind: Refusal
    words: str

    @property
    def line(self) -> str:
        return f"{self.offer}: {self.kind.value}: {self.words}; {_ADVICE[self.kind]}"


def refusal_of(kind: str, words: str) -> Refusal:
    """Why, by the exception's type and all that was said. A cloud's own word counts before SkyPilot's summary."""
    folded = words.casefold()
    for refusal, signs in _SIGNS:
        if re.search(signs, folded):
            return refusal
    return _TYPES.get(kind, Refusal.OTHER)


def fact_of(error: EngineError | AwayError, offer: str, now: float) -> Fact:
    """A failed attempt at an offer, as a fact."""
    if isinstance(error, EngineError):
        return Fact(now, offer, error.refusal, _line(error.words)[:_WORDS])
    return Fact(now, offer, Refusal.AWAY, str(error)[:_WORDS])


def passes(facts: Sequence[Fact]) -> bool:
    """Whether waiting may cure it: at least one offer was refused for what passes by itself."""
    return any(fact.kind in _PASSES for fact in facts)


def _line(words: str) -> str:
    """The line that says why: the first in which a sign is found, else the last that is not empty."""
    lines = [_BEFORE.sub("", line).strip() for line in words.splitlines() if line.strip()]
    for _, signs in _SIGNS:
        for line in lines:
            if re.search(signs, line.casefold()):
                return line
    return lines[-1] if lines else ""
