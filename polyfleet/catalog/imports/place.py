"""Prices in the catalog's terms: which region, which chip, and the cells of the user's file that say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from polyfleet.catalog.imports.hosts import Host, host_of, known_hosts, not_sold
from polyfleet.catalog.imports.listed import Listed, Row, Tally
from polyfleet.catalog.imports.numbers import rounded
from polyfleet.catalog.offers import load_offers
from polyfleet.catalog.regions import load_regions
from polyfleet.terms.offer import Purchase

ANYWHERE = "*"


def cells_of(prices: Iterable[Listed], list_name: str, tally: Tally) -> dict[str, Row]:
    """Cells of the user's file by offer id. What is not understood is counted; of two prices of one offer the lower
    stays."""
    found: dict[str, tuple[float, Row]] = {}
    for price in _placed(prices, tally):
        host = _understood(price, tally)
        if host is not None and (price.id not in found or price.usd_per_hour < found[price.id][0]):
            found[price.id] = price.usd_per_hour, _cells(price, host, list_name)
    _drop_contradictions(found, tally)
    return {name: cells for name, (_, cells) in found.items()}


def _drop_contradictions(found: dict[str, tuple[float, Row]], tally: Tally) -> None:
    """Where spot costs more than on-demand in one list, one of the two is something else: neither is taken."""
    for name in [name for name in found if name.endswith(f":{Purchase.SPOT}")]:
        usual = f"{name.rpartition(':')[0]}:{Purchase.ON_DEMAND}"
        if usual in found and found[usual][0] < found[name][0]:
            del found[usual], found[name]
            tally.leave_out("spot above on-demand: one of the two is wrong", name)


def _understood(price: Listed, tally: Tally) -> Host | None:
    reason: Host | str = not_sold(price) or host_of(price)
    if isinstance(reason, Host):
        return reason
    tally.leave_out(reason, f"{price.instance_type} {price.chip}".strip())
    return None


def _cells(price: Listed, host: Host, list_name: str) -> Row:
    note = "; ".join(part for part in (f"{list_name} list", price.note) if part)
    cells = {
        "id": price.id, "chip": host.chip, "chips": str(host.chips), "source": price.source, "as_of": price.as_of,
        "usd_per_hour": f"{rounded(price.usd_per_hour):.12g}", "note": note,
    }  # fmt: skip
    if price.id in _listed_ids():
        return cells
    facts = {
        "domain_chips": host.domain_chips, "link_gb_s": host.link_gb_s,
        "vcpus": host.vcpus, "memory_gib": host.memory_gib,
    }  # fmt: skip
    cells |= {name: f"{value:g}" for name, value in facts.items() if value}
    if (price.provider, price.region) not in load_regions():
        cells["continent"], cells["jurisdiction"] = _countries()[_country(price.region)]
    return cells


def _placed(prices: Iterable[Listed], tally: Tally) -> list[Listed]:
    """Prices whose region the catalog can place. Where it knows a provider by one list price for all regions, a price
    that is the same in all of them becomes that one."""
    placed: list[Listed] = []
    everywhere: dict[str, list[Listed]] = defaultdict(list)
    for price in prices:
        if ":" in price.id.replace(":", "", 3):
            tally.leave_out("a colon in a name", price.instance_type)
        elif (price.provider, price.region) in load_regions() or _country(price.region) in _countries():
            placed.append(price)
        elif (price.provider, ANYWHERE) in load_regions():
            everywhere[replace(price, region=ANYWHERE).id].append(price)
        else:
            tally.leave_out("a region that the catalog does not know", f"{price.provider}:{price.region}")
    for group in everywhere.values():
        if len({price.usd_per_hour for price in group}) > 1 and _is_known(group[0]):
            tally.leave_out("a price that differs by regions which the catalog does not know", group[0].instance_type)
        else:
            placed.append(replace(group[0], region=ANYWHERE))
    return placed


def _is_known(price: Listed) -> bool:
    return (price.provider, price.instance_type) in known_hosts() or bool(price.chip)


def _country(region: str) -> str:
    """`fr` of Vast's `France, FR, EU`; empty for the names of regions."""
    parts = [part.strip() for part in region.split(",")]
    return parts[-2].lower() if len(parts) == 3 and len(parts[-2]) == 2 else ""


@cache
def _countries() -> dict[str, tuple[str, str]]:
    """Continent and jurisdiction by country, as far as the catalog's regions lie in one."""
    rows = load_regions().values()
    return {row["country"]: (row["continent"], row["jurisdiction"]) for row in rows if row["country"]}


@cache
def _listed_ids() -> frozenset[str]:
    return frozenset(offer.id for offer in load_offers() if offer.quality != "unproven")
