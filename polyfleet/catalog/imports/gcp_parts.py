"""The parts of Google's machines, and how the billing catalog describes them."""

from __future__ import annotations

import re
from typing import NamedTuple

from polyfleet.catalog.imports.hosts import Host
from polyfleet.terms.offer import Purchase


class Part(NamedTuple):
    """Cores or memory (GiB) of a machine family, or a chip."""

    kind: str
    name: str


# Each family's name in descriptions of its cores and memory, and its chip's. B200 machines are sold as slices.
_FAMILIES = {
    "a2-highgpu": ("A2", "A100 40GB"), "a2-megagpu": ("A2", "A100 40GB"), "a2-ultragpu": ("A2", "A100 80GB"),
    "a3-highgpu": ("A3", "H100 80GB"), "a3-megagpu": ("A3", "H100 80GB Mega"), "g2-standard": ("G2", "L4"),
    "g4-standard": ("G4", "RTX 6000 96GB"), "a4-highgpu": ("", "B200"),
}  # fmt: skip
_TPUS = {"ct5lp-hightpu": "TpuV5e", "ct5p-hightpu": "TpuV5p", "ct6e-standard": "TpuV6e"}
# A description that holds the first is of the second; the first that fits counts.
_CHIPS = (
    (re.compile(r"H100 (80GB (Mega|Plus)|Mega 80GB) GPU|H100 80GB (Mega|Plus)\b"), "H100 80GB Mega"),
    (re.compile(r"H100 80GB\b"), "H100 80GB"),
    (re.compile(r"A100 80GB\b"), "A100 80GB"),
    (re.compile(r"Tesla A100\b"), "A100 40GB"),
    (re.compile(r"\bB200 \(1 gpu slice\)"), "B200"),
    (re.compile(r"\bRTX (PRO )?6000 96GB\b"), "RTX 6000 96GB"),
    (re.compile(r"Nvidia L4\b"), "L4"),
)
_USAGE = {
    "OnDemand": Purchase.ON_DEMAND, "Preemptible": Purchase.SPOT, "Commit1Yr": Purchase.RESERVED_1Y,
    "Commit3Yr": Purchase.RESERVED_3Y,
}  # fmt: skip
_OTHERWISE = re.compile(r"Reserved|DWS|Calendar|Sole Tenancy|Custom|Flex", re.IGNORECASE)
_CORES = re.compile(r"(?:Commitment v1: |Spot Preemptible )?(A2|A3|G2|G4)\b(?! .*(?:Custom|Sole))")


def parts_of(instance_type: str, host: Host) -> list[tuple[Part, float]]:
    """Parts of a machine and how many of each; empty where they are not known."""
    family = instance_type.rpartition("-")[0]
    if family in _TPUS:
        return [(Part("chip", _TPUS[family]), host.chips)]
    if family not in _FAMILIES or not host.vcpus or not host.memory_gib:
        return []
    machine, chip = _FAMILIES[family]
    chips = [(Part("chip", chip), float(host.chips))]
    return (
        [*chips, (Part("core", machine), host.vcpus), (Part("memory", machine), host.memory_gib)] if machine else chips
    )


def part_of(description: str, group: str, usage: str) -> tuple[Part, Purchase] | None:
    """The part that a description is of and how it is bought; None for all else.

    Preemptible TPUs bear the usage type of on-demand ones: the description tells them apart.
    """
    purchase = _USAGE.get(usage)
    if purchase is None or _OTHERWISE.search(description):
        return None
    if tpu := re.search(r"\bTpuV(5e|5p|6e)\b", description):
        spot = "Preemptible" in description or "Spot" in description
        if "Commitment" in description and not purchase.committed:
            return None
        return Part("chip", f"TpuV{tpu[1]}"), Purchase.SPOT if spot else purchase
    if ("Commitment" in description) != purchase.committed:
        return None
    if group == "GPU":
        chip = next((name for pattern, name in _CHIPS if pattern.search(description)), None)
        return (Part("chip", chip), purchase) if chip else None
    kind = {"CPU": "core", "RAM": "memory"}.get(group)
    family = _CORES.match(description)
    return (Part(kind, family[1]), purchase) if kind and family else None
