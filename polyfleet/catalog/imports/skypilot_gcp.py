"""Google's machines in SkyPilot's list: rows of the machine alone and rows of its accelerators alone, to be added."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from polyfleet.catalog.imports.hosts import Host, known_hosts
from polyfleet.catalog.imports.listed import Listed, Tally
from polyfleet.terms.offer import Purchase

# SkyPilot's words for the chips of Google's machine families.
_ACCELERATORS = {
    "a2-highgpu": "A100", "a2-megagpu": "A100", "a2-ultragpu": "A100-80GB", "a3-highgpu": "H100",
    "a3-megagpu": "H100-MEGA", "a3-ultragpu": "H200", "a4-highgpu": "B200", "g2-standard": "L4",
}  # fmt: skip
# TPU slices that one host holds, priced whole: SkyPilot's name, Google's machine type. v4 and v5p count cores.
_SLICES = {
    **{f"tpu-v5litepod-{n}": f"ct5lp-hightpu-{n}t" for n in (1, 4, 8)},
    **{f"tpu-v6e-{n}": f"ct6e-standard-{n}t" for n in (1, 4, 8)},
    "tpu-v5p-8": "ct5p-hightpu-4t", "tpu-v4-8": "tpu-v4-8",
}  # fmt: skip
_PLACEHOLDER_USD = 700.0  # what SkyPilot's fetcher writes for a TPU v6e whose price it did not find
_Key = tuple[str, str, Purchase]


def joined(prices: Iterable[Listed], tally: Tally) -> Iterator[Listed]:
    """Prices of machines with their accelerators, and of TPU slices on one host. A note holds the zone on the way in.

    A machine whose accelerators have no price in its zone is counted, as is a slice over several hosts.
    """
    machines: list[Listed] = []
    chips: dict[tuple[str, float], dict[_Key, float]] = defaultdict(dict)
    for price in prices:
        if price.instance_type:
            machines.append(price)
        elif price.chip.startswith("tpu-"):
            yield from _slice(price, tally)
        elif price.usd_per_hour:
            key = price.region, price.note, price.purchase
            chips[price.chip, price.chips or 0.0].setdefault(key, price.usd_per_hour)
    for machine in machines:
        yield from _whole(machine, chips, tally)


def _whole(machine: Listed, chips: dict[tuple[str, float], dict[_Key, float]], tally: Tally) -> Iterator[Listed]:
    host = known_hosts().get((machine.provider, machine.instance_type))
    name = _ACCELERATORS.get(machine.instance_type.rpartition("-")[0])
    if host is None or name is None:
        if machine.purchase is Purchase.ON_DEMAND:
            tally.leave_out("a machine without chips, or unknown", machine.instance_type)
        return
    of_chips = chips.get((name, float(host.chips)), {}).get((machine.region, machine.note, machine.purchase))
    if of_chips is None:
        tally.leave_out("no price of its chips in that zone", f"{machine.instance_type} {machine.note}")
        return
    if not machine.usd_per_hour and not _free(host):
        tally.leave_out("no price of the machine", f"{machine.instance_type} {machine.note}")
        return
    yield replace(machine, usd_per_hour=machine.usd_per_hour + of_chips, note="")


def _free(host: Host) -> bool:
    """Whether the price of the chips is the machine's: B200 slices are sold so, and their machine rows say 0."""
    return host.chip == "B200"


def _slice(price: Listed, tally: Tally) -> Iterator[Listed]:
    machine = _SLICES.get(price.chip)
    if machine is None:
        tally.leave_out("a TPU slice over several hosts, or an old one", price.chip)
    elif price.usd_per_hour == _PLACEHOLDER_USD:
        tally.leave_out("a placeholder for an unknown price", f"{price.chip} {price.note}")
    elif price.usd_per_hour:
        host = known_hosts()[price.provider, machine]
        yield replace(price, instance_type=machine, chip=host.chip, chips=float(host.chips), note="")
