"""Catalogs in the form that SkyPilot 0.14 reads (v8), with the few machines that the rig's EC2 offers.

SkyPilot would fetch its own from the network; those that lie there it leaves alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

_ZONES = (("us-east-1", "use1-az1"), ("us-east-1", "use1-az2"), ("us-west-2", "usw2-az1"))
_MACHINES = (("m6i.large", 2.0, 8.0, 0.096, 0.04), ("m6i.2xlarge", 8.0, 32.0, 0.384, 0.15))
_IMAGES = ("custom-cpu-ubuntu", "custom-gpu-ubuntu", "custom-gpu-ubuntu-cuda13", "neuron-ubuntu-2204")
_GPUS = str({
    "Gpus": [{"Name": "H100", "Manufacturer": "NVIDIA", "Count": 8.0, "MemoryInfo": {"SizeInMiB": 81920}}],
    "TotalGpuMemoryInMiB": 655360,
})  # fmt: skip
"""A machine of which the rig has the name alone: no chip is there, and nothing that runs there asks for one."""
_AMI = "ami-03cf127a"


def prices() -> dict[tuple[str, bool], float]:
    """Dollars per hour by instance type and whether it is spot."""
    return {
        (name, spot): usd for name, _, _, on_demand, low in _MACHINES for spot, usd in ((False, on_demand), (True, low))
    }


def write_catalogs(home: Path) -> None:
    """Lay the catalogs into the home of a user of SkyPilot."""
    folder = home / ".sky" / "catalogs" / "v8"
    columns = ("InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "GpuInfo", "Price")
    rows: list[tuple[object, ...]] = [
        (name, "", "", cpus, gib, "", usd, spot_usd, region, zone, "x86_64")
        for region, zone in _ZONES for name, cpus, gib, usd, spot_usd in _MACHINES
    ]  # fmt: skip
    rows += [("p5.48xlarge", "H100", 8.0, 192.0, 2048.0, _GPUS, 0.02, 0.01, r, z, "x86_64") for r, z in _ZONES]
    _write(folder / "aws" / "vms.csv", (*columns, "SpotPrice", "Region", "AvailabilityZone", "Arch"), rows)
    columns = ("Tag", "Region", "OS", "OSVersion", "ImageId", "CreationDate", "BaseImageId")
    regions = sorted({region for region, _ in _ZONES})
    images = [(f"skypilot:{tag}", r, "ubuntu", "22.04", _AMI, "20241104", _AMI) for r in regions for tag in _IMAGES]
    _write(folder / "aws" / "images.csv", columns, images)
    columns = ("InstanceType", "SpotInstanceCode", "OnDemandInstanceCode")
    _write(folder / "aws" / "instance_quota_mapping.csv", columns, [("m6i.large", "L-34B43A08", "L-1216C47A")])
    _write(folder / "common" / "accelerators.csv", ("AcceleratorName", "Clouds"), [("H100", "['AWS']")])
    _write(folder / "common" / "metadata.csv", ("GPU", "MemoryGB", "Manufacturer"), [("H100", 80, "NVIDIA")])


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
