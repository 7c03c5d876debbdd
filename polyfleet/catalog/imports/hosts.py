"""Which chips an instance type has: as the catalog knows it, else as a list names it where that fits one chip only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType

from polyfleet.catalog.chips import chip_names, load_chips
from polyfleet.catalog.imports.listed import Listed
from polyfleet.catalog.offers import load_offers
from polyfleet.catalog.spelling import squeezed
from polyfleet.terms.chip import Chip

_SAME_MEMORY = 0.12  # lists give what a board has, the catalog what programs see of it
_FORMS = ("SXM", "PCIE", "NVL")
# Prices that stand in lists but cannot be had so, or are a mistake: provider, instance type, purchases, why.
_NOT_SOLD = (
    ("gcp", "a3-highgpu-[124]g", "on_demand reserved_1y reserved_3y", "sold as spot or flex-start only"),
    ("azure", "Standard_ND128isr_NDR_GB200_v6", "*", "not sold by the hour as far as is known"),
    ("azure", "Standard_NC8ads_A10_v4", "*", "likely half a GPU stated as one"),
    ("aws", "trn2.3xlarge", "spot", "13 times the price per chip of trn2.48xlarge"),
)


@dataclass(frozen=True, slots=True)
class Host:
    """What is inside an instance type."""

    chip: str
    chips: int
    domain_chips: int
    link_gb_s: float
    vcpus: float
    memory_gib: float


@cache
def known_hosts() -> Mapping[tuple[str, str], Host]:
    """The instance types of the packaged catalog by (provider, instance type)."""
    return MappingProxyType(
        {
            (o.provider, o.instance_type): Host(
                o.chip, o.chips, o.domain_chips, o.link_gb_s, o.vcpus, o.memory_gib
            )
            for o in load_offers()
        }
    )  # fmt: skip


def not_sold(price: Listed) -> str:
    """Why this price is not to be had, empty where nothing is known against it."""
    for provider, pattern, purchases, why in _NOT_SOLD:
        bought = purchases == "*" or price.purchase.value in purchases.split()
        if bought and price.provider == provider and fnmatchcase(price.instance_type, pattern):
            return why
    return ""


def host_of(price: Listed) -> Host | str:
    """The host behind a price, or why it is not understood."""
    if price.chips is not None and price.chips % 1:
        return "a fraction of a chip"
    known = known_hosts().get((price.provider, price.instance_type))
    if known is None:
        return _new_host(price)
    if price.chips and price.chips != known.chips:
        return f"another count of chips than the catalog's {known.chips} x {known.chip}"
    if price.chip and not _alike(price.chip, known.chip):
        return f"another chip than the catalog's {known.chip}"
    return known


def _new_host(price: Listed) -> Host | str:
    if not price.chip or not price.chips:
        return "an instance type that the catalog does not know, and no chip told"
    fitting = _fitting(price)
    if not fitting:
        return "a chip that the catalog does not know"
    if len(fitting) > 1:
        return "form or memory of the chip not told"
    chip, chips = fitting[0], int(price.chips)
    domain = min(chips, chip.domain_chips) if chip.domain_chips > 1 else chips
    return Host(chip.name, chips, domain, chip.link_gb_s, price.vcpus, price.memory_gib)


def _fitting(price: Listed) -> list[Chip]:
    """The chips that the list can mean: by name, then by form and memory as far as they are told."""
    direct = chip_names().get(squeezed(price.chip), "")
    if squeezed(direct) == squeezed(price.chip):
        return [load_chips()[direct]] if direct else []
    stem = _stem(direct or price.chip)
    kin = [chip for chip in load_chips().values() if _stem(chip.name) == stem]
    text = f"{price.chip} {price.instance_type}".upper()
    if form := next((f for f in _FORMS if f in text), ""):
        kin = [chip for chip in kin if form in chip.name.upper()] if len(kin) > 1 else kin
    told = re.search(r"(\d+)GB", price.chip.upper())
    gib = float(told[1]) if told else price.chip_gib
    return [chip for chip in kin if _has(chip, gib, price.chips or 1)] if gib and len(kin) > 1 else kin


def _has(chip: Chip, gib: float, chips: float) -> bool:
    """Some lists give the memory of one chip, some of all."""
    return any(abs(gib / n - chip.memory_gib) <= _SAME_MEMORY * chip.memory_gib for n in {1.0, float(chips)})


def _alike(listed: str, chip: str) -> bool:
    direct = chip_names().get(squeezed(listed))
    return _stem(direct or listed) == _stem(chip)


def _stem(name: str) -> str:
    """`H100` of H100-SXM; a first word without a figure says too little: then the whole name."""
    first = re.split(r"[-_ ]", name.strip())[0].upper()
    return first if re.search(r"\d", first) else squeezed(name).upper()
