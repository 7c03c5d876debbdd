"""Settings that contradict each other are refused; settings that change nothing are told.

What a spec says must hold or be said not to: a limit on nothing looks kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from polyfleet.catalog.regions import matches_region
from polyfleet.catalog.store import Catalog
from polyfleet.errors import SpecError
from polyfleet.terms.offer import HostedOffer, Offer
from polyfleet.terms.spec import Policy
from polyfleet.terms.spec_text import SpecSource

if TYPE_CHECKING:
    from polyfleet.terms.model import Model

_NOT_EMPTY = {
    ("spot", "within"): "name the workloads that may run on spot, or leave the key out for all of them",
    ("regions",): "name regions, or leave the key out for all of them",
    ("survive", "lose"): "name what may be lost (provider, chip_vendor, region), or leave `survive` out",
}


def refuse_contradictions(source: SpecSource, models: Mapping[str, Model | None]) -> None:
    """Refuse settings that cannot be meant. `source` with names as the catalog spells them; `models` by workload, None
    for one that only hosts serve.

    Raises SpecError with file, line, value and what would be right; the one that stands first in the file.
    """
    found = [*_empty_lists(source), *_nothing_left(source), *_closed(source, models)]
    if found:
        raise min(found, key=lambda error: error.line or 0)


def notes_on(source: SpecSource, models: Mapping[str, Model | None], catalog: Catalog) -> tuple[str, ...]:
    """What a spec sets and what has no effect, or an effect that one may not expect, in plain words."""
    return (
        *_idle_workload_settings(source, models), *_idle_limits(source), *_spot_notes(source),
        *_idle_quotas(source.spec.policy, catalog), *_idle_regions(source.spec.policy, catalog),
    )  # fmt: skip


def _error(source: SpecSource, path: tuple[str, ...], problem: str, hint: str, value: object = None) -> SpecError:
    where = ".".join(path)
    return SpecError(f"`{where}`: {problem}", file=source.file, line=source.line_of(*path), value=value, hint=hint)


def _empty_lists(source: SpecSource) -> Iterator[SpecError]:
    """An empty list reads as `none of them` and means `all of them`."""
    for name in source.spec.workloads:
        if _is_empty(source, "workloads", name, "precision"):
            hint = "name formats such as [bf16, fp8], or leave the key out for the checkpoint's own"
            yield _error(source, ("workloads", name, "precision"), "an empty list allows no format", hint)
    for path, hint in _NOT_EMPTY.items():
        if _is_empty(source, "policy", *path):
            yield _error(source, ("policy", *path), "the list is empty", hint)
    for provider, chips in source.spec.policy.quotas.items():
        if not chips:
            hint = f"write {{{provider}: {{H100: 64}}}}, or exclude the provider to use none of its chips"
            yield _error(source, ("policy", "quotas", provider), "names no chip", hint)


def _is_empty(source: SpecSource, *path: str) -> bool:
    """Whether a list is written, and holds nothing."""
    part: object = source.spec
    for key in path:
        if isinstance(part, Mapping):
            part = part[key]
        elif part is None or key not in getattr(part, "model_fields_set", ()):
            return False
        else:
            part = getattr(part, key)
    return part == ()


def _nothing_left(source: SpecSource) -> Iterator[SpecError]:
    """Shares that leave nothing of what they share out."""
    policy = source.spec.policy
    for kind in ("provider", "chip_vendor", "region"):
        if getattr(policy.max_share, kind) == 0:
            hint = f"write a share above 0%, or name under `exclude` the {kind.replace('_', ' ')}s not to be used"
            yield _error(source, ("policy", "max_share", kind), "leaves nobody any traffic", hint, "0%")
    if policy.spot.within and policy.spot.max_share == 0:
        path = ("policy", "spot", "within")
        yield _error(source, path, "names workloads for spot, but none may be bought", "add `max_share: 30%` beside it")
    if policy.survive is not None and policy.survive.keep == 0:
        hint = "write the share of demand to be served, such as 100%, or leave `survive` out"
        yield _error(source, ("policy", "survive", "keep"), "keeps nothing", hint, "0%")


def _closed(source: SpecSource, models: Mapping[str, Model | None]) -> Iterator[SpecError]:
    """Forbidding hosts where only hosts can serve."""
    if source.spec.policy.hosted == "forbidden" and not any(models.values()):
        model = next(iter(source.spec.workloads.values())).model
        yield _error(
            source, ("policy", "hosted"), f"no workload could be served: only hosts serve {model}",
            "allow hosts, or name a model whose weights the catalog knows", "forbidden",
        )  # fmt: skip


def _idle_workload_settings(source: SpecSource, models: Mapping[str, Model | None]) -> Iterator[str]:
    spec = source.spec
    for name, workload in spec.workloads.items():
        closed = models[name] is None
        if closed and spec.policy.hosted == "forbidden":
            yield f"{name}: `hosted: forbidden` cannot hold for it, only hosts serve {workload.model}"
        why = "only hosts serve it" if closed else "`hosted: only`" if spec.policy.hosted == "only" else ""
        if workload.precision and why:
            yield f"{name}: `precision` has no effect, hosts choose their own ({why})"
        if why and (workload.slo.ttft or workload.slo.tpot):
            yield f"{name}: no host promises the latency of `slo`, and the plan cannot check it ({why})"


def _idle_limits(source: SpecSource) -> Iterator[str]:
    policy, workloads = source.spec.policy, source.spec.workloads.values()
    if policy.hosted == "only":
        rents = {
            "quotas": policy.quotas, "spot": policy.spot.max_share, "commit": policy.commit.max_term_years,
            "exclude.chip": policy.exclude.chip, "exclude.instance_type": policy.exclude.instance_type,
        }  # fmt: skip
        for key in (key for key, value in rents.items() if value):
            yield f"`{key}` has no effect under `hosted: only`: no chips are rented"
    if policy.survive is not None:
        if all(w.batch is not None for w in workloads):
            yield "`survive` has no effect: all work is batch work, which waits while a supplier is lost"
        elif policy.survive.slo > 1 and not any(w.slo.ttft or w.slo.tpot for w in workloads):
            yield "`survive.slo` has no effect: no workload promises a latency that it could loosen"


def _spot_notes(source: SpecSource) -> Iterator[str]:
    policy, workloads = source.spec.policy, source.spec.workloads
    if policy.spot.max_share > 0 and policy.hosted != "only":
        may = policy.spot.within or tuple(workloads)
        serving = [name for name in may if workloads[name].batch is None]
        if serving:
            yield (
                f"spot may serve {', '.join(serving)}: the plan holds no spare for instances that are taken back; "
                "`spot.within` can keep spot to batch work"
            )


def _idle_quotas(policy: Policy, catalog: Catalog) -> Iterator[str]:
    known = {offer.region for offer in catalog.offers}
    for provider, chips in policy.quotas.items():
        if provider in policy.exclude.provider:
            yield f"the quotas of {provider} have no effect: `exclude` names the provider"
            continue
        for chip in chips:
            rented = [o for o in catalog.offers if (o.provider, o.chip) == (provider, chip)]
            if chip in policy.exclude.chip:
                yield f"the quota on {chip} of {provider} has no effect: `exclude` names the chip"
            elif policy.regions and not any(matches_region(o, r, known) for o in rented for r in policy.regions):
                yield f"the quota on {chip} of {provider} has no effect: it rents none in the policy's regions"


def _idle_regions(policy: Policy, catalog: Catalog) -> Iterator[str]:
    known = {offer.region for offer in catalog.offers}
    offers: tuple[Offer | HostedOffer, ...] = (*catalog.offers, *catalog.hosted)
    for wanted in policy.regions:
        if not any(matches_region(offer, wanted, known) for offer in offers):
            yield f"region {wanted!r} adds nothing: no offer of the catalog lies there"
