"""What runs already as replicas: the endpoints that a spec names, and the hosts whose tokens its plan buys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyfleet.catalog.endpoints import KnownEndpoint, known_endpoints
from polyfleet.catalog.hosted import load_hosted
from polyfleet.errors import InputError, SpecError
from polyfleet.launch.endpoint_shares import even_share, line_shares, lines_in_use
from polyfleet.launch.endpoint_url import Address, address_of, filled, missing_in
from polyfleet.launch.manifests.fleet import slug
from polyfleet.terms.fleet import ENDPOINT, ReplicaSpec
from polyfleet.terms.launch_section import EndpointChoice
from polyfleet.terms.offer import HostedOffer
from polyfleet.terms.plan import Line, Plan
from polyfleet.terms.spec import Spec

_SLOTS = 4096
"""Where nobody says: as many as a gate lets in. What a host allows is learned from its answers."""
_CONTEXT_TOKENS = 131_072
_LONGEST_ID = 40


def endpoint_replicas(
    spec: Spec,
    plan: Plan | None,
    window: int,
    folder: Path,
    env: Mapping[str, str],
    *,
    hosted: tuple[HostedOffer, ...] | None = None,
) -> tuple[ReplicaSpec, ...]:
    """One replica for each hosted line that carries traffic in the plan's window, and one for each entry of `launch:
    endpoints:` that is not such a line's. `hosted`: the offers with the user's prices; default: the catalog's own.

    Raises SpecError where an address is missing, with what to write.
    """
    offers = {offer.id: offer for offer in (load_hosted() if hosted is None else hosted)}
    maker = _Maker(spec, plan, window, folder, env)
    lines = lines_in_use(plan, window) if plan is not None else ()
    entries = spec.launch.endpoints
    for line in lines:
        maker.add_line(line, _entry_for(line, entries), offers.get(line.offers[0]))
    for name, entry in entries.items():
        if any(_entry_for(line, entries) is entry for line in lines):
            continue
        if entry.workload is None:
            if plan is not None and name in known_endpoints():
                continue  # the plan buys nothing there in this window
            raise _error(name, "", "says no `workload`", f"write `workload:`, one of {', '.join(spec.workloads)}")
        maker.add_entry(name, entry, entry.workload)
    return tuple(maker.made)


def _entry_for(line: Line, entries: Mapping[str, EndpointChoice]) -> EndpointChoice | None:
    entry = entries.get(line.provider)
    return entry if entry is not None and entry.workload in {None, line.workload} else None


@dataclass
class _Maker:
    spec: Spec
    plan: Plan | None
    window: int
    folder: Path
    env: Mapping[str, str]

    def __post_init__(self) -> None:
        self.made: list[ReplicaSpec] = []

    def add_line(self, line: Line, entry: EndpointChoice | None, offer: HostedOffer | None) -> None:
        """A line of the plan, bought by the token."""
        assert self.plan is not None
        entry = entry or EndpointChoice()
        name = line.provider
        known = known_endpoints().get(name)
        model = next(w.model for w in self.plan.workloads if w.name == line.workload)
        upstream = entry.model or _name_at_host(name, entry, known, offer) or model
        blended = line.usd_per_million_tokens or 0.0
        prices = (offer.usd_per_million_input, offer.usd_per_million_output) if offer else (blended, blended)
        shares, buckets = line_shares(self.plan, self.window, line)
        self._add(
            name, entry, line.workload, known, line.region, upstream_model=upstream, model=model, prices=prices,
            context=offer.max_input_tokens if offer else None, offer=line.offers[0], shares=shares, buckets=buckets,
        )  # fmt: skip

    def add_entry(self, name: str, entry: EndpointChoice, workload: str) -> None:
        """What the user names beside the plan, or without one."""
        shares, buckets = even_share(self.plan, self.window, workload, entry.share)
        self._add(
            name, entry, workload, known_endpoints().get(name), entry.region, upstream_model=entry.model,
            model=self.spec.workloads[workload].model, prices=(0.0, 0.0), context=None, offer=f"endpoint:{name}",
            shares=shares, buckets=buckets,
        )  # fmt: skip

    def _add(
        self, name: str, entry: EndpointChoice, workload: str, known: KnownEndpoint | None, region: str, *,
        model: str, prices: tuple[float, float], context: int | None, **fields: Any,
    ) -> None:  # fmt: skip
        address = self._address(name, entry, known, region)
        key_env, key_file = self._key(name, entry, known)
        served = dict.fromkeys((workload, Path(model).name if (self.folder / model).exists() else model))
        self.made.append(
            ReplicaSpec(
                id=self._id(workload, name), workload=workload, served=tuple(served), engine=entry.speaks,
                weights=model, slots=entry.slots or _SLOTS,
                context_tokens=max(16, entry.context or context or _CONTEXT_TOKENS),
                provider=name, chip=entry.chip, region=region, usd_per_hour=entry.usd_per_hour,
                usd_per_m_input=prices[0] if entry.usd_per_m_input is None else entry.usd_per_m_input,
                usd_per_m_output=prices[1] if entry.usd_per_m_output is None else entry.usd_per_m_output,
                place=ENDPOINT, url=address.url, path=address.path, key_env=key_env, key_file=key_file, **fields,
            )
        )  # fmt: skip

    def _id(self, workload: str, name: str) -> str:
        base = f"{slug(workload, 24)}-{slug(name, 12)}"
        taken = {one.id for one in self.made}
        number, found = 1, base
        while found in taken:
            number += 1
            found = f"{base[: _LONGEST_ID - 4]}-{number}"
        return found

    def _address(self, name: str, entry: EndpointChoice, known: KnownEndpoint | None, region: str) -> Address:
        text = entry.url
        if text is None:
            if known is None:
                raise _error(name, "url", "has no known address", "write it, as https://host/v1")
            values = dict(self.env)
            values["region"] = region if _is_region(region) else self.env.get(f"{name.upper()}_REGION", "")
            missing = missing_in(known.url, values)
            if missing:
                wanted = ", ".join(f"{name.upper()}_REGION" if one == "region" else one for one in missing)
                raise _error(name, "url", f"is reached at {known.url}", f"set {wanted} in the environment, or write it")
            text = filled(known.url, values)
        try:
            return address_of(text)
        except InputError as error:
            raise SpecError(
                f"launch.endpoints.{name}.url: {error.problem}", value=error.value, hint=error.hint
            ) from None

    def _key(self, name: str, entry: EndpointChoice, known: KnownEndpoint | None) -> tuple[str | None, str | None]:
        """The variable or the file that holds it. Whether it does is for `EndpointDriver.check`."""
        if entry.key_file is not None:
            try:
                return None, str((self.folder / Path(entry.key_file).expanduser()).resolve())
            except (OSError, RuntimeError, ValueError):  # a home of nobody's, a null byte
                raise SpecError(
                    f"launch.endpoints.{name}.key_file: no path of a file", value=entry.key_file,
                    hint="write one relative to the spec, or a whole one",
                ) from None  # fmt: skip
        return entry.key_env or (known.key_env if known is not None else None), None


def _name_at_host(
    name: str, entry: EndpointChoice, known: KnownEndpoint | None, offer: HostedOffer | None
) -> str | None:
    if known is None or offer is None:
        return None
    if entry.url is None and known.lacks(offer):
        hint = f"exclude {offer.id} in the plan, or write the `url` and `model` of what serves it in OpenAI's form"
        raise _error(name, "", f"does not serve {offer.model} behind its OpenAI-compatible endpoint", hint)
    return known.name_of(offer)


def _is_region(name: str) -> bool:
    """Whether it is one region of a cloud; `us`, `eu`, `global` and `*` are more, or none."""
    return any(letter.isdigit() for letter in name)


def _error(name: str, key: str, problem: str, hint: str) -> SpecError:
    place = f"launch.endpoints.{name}" + (f".{key}" if key else "")
    return SpecError(f"the endpoint {name} {problem}", hint=f"{hint} ({place})")
