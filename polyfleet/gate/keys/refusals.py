"""The door's refusals, in words that name the key by its name and never repeat it."""

from __future__ import annotations

from polyfleet.gate.keys.account import Account
from polyfleet.gate.keys.passes import NANO
from polyfleet.gate.keys.store import KeyFacts
from polyfleet.gate.pool.refused import Refused


def no_such_key(*, given: bool) -> Refused:
    told = "there is no such API key, or it was revoked" if given else "no API key was given"
    return Refused(401, "invalid_api_key", f"{told}; send `Authorization: Bearer pf-...`")


def model_not_allowed(facts: KeyFacts, model: str) -> Refused:
    allowed = ", ".join(sorted(facts.models))
    return Refused(403, "model_not_allowed", f"the key {facts.name!r} may not ask for {model!r}; it may for: {allowed}")


def state_silent() -> Refused:
    return Refused(503, "state_unavailable", "the gate's database of keys does not answer", 2.0)


def too_large(facts: KeyFacts, account: Account, amount: int) -> Refused:
    """More than the whole: waiting never helps, asking for less does."""
    code = "insufficient_quota" if account.kind == "usd" else "rate_limit_exceeded"
    may = f"this request may use {_shown(account, amount)}, more than the key {facts.name!r} ever may"
    return Refused(429, code, f"{may} ({_limit(account)}); set a lower max_tokens")


def used_up(facts: KeyFacts, account: Account, amount: int, now_s: float) -> Refused:
    """Less is left than the request may use."""
    retry_s = account.retry_after_s(amount, now_s)
    if account.kind != "usd":
        told = f"the key {facts.name!r} is at its limit of {_limit(account)}"
        return Refused(429, "rate_limit_exceeded", told, retry_s)
    if account.used + amount <= account.limit:
        told = f"what is left of the budget of the key {facts.name!r} is held by requests in flight"
        return Refused(429, "rate_limit_exceeded", told, retry_s)
    told = f"of the budget of the key {facts.name!r} {_shown(account, account.used)} of {_limit(account)} is used"
    return Refused(429, "insufficient_quota", f"{told}; this request may need {_shown(account, amount)}", retry_s)


def _shown(account: Account, amount: int) -> str:
    return f"${amount / NANO:,.6f}" if account.kind == "usd" else f"{amount:,} {account.kind}"


def _limit(account: Account) -> str:
    if account.kind != "usd":
        return f"{account.limit:,} {account.kind} a minute"
    return f"${account.limit / NANO:,.2f}"
