#!/usr/bin/env python3
"""Read an AWS price list of any size, made as it is read, and tell the time and the memory that this takes.

The rows have the columns of the true list (2025-09); most are of machines without chips, as there.

usage: bench_price_list.py [--megabytes 1000]     prints JSON: megabytes, rows, prices, seconds, peak_rss_mib
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from polyfleet.catalog.imports import aws_list
from polyfleet.catalog.imports.listed import Tally

_HEADER = (
    "SKU,OfferTermCode,RateCode,TermType,PriceDescription,EffectiveDate,StartingRange,EndingRange,Unit,PricePerUnit,"
    "Currency,RelatedTo,LeaseContractLength,PurchaseOption,OfferingClass,Product Family,serviceCode,Location,Location "
    "Type,Instance Type,Current Generation,Instance Family,vCPU,Physical Processor,Clock Speed,Memory,Storage,Network "
    "Performance,Processor Architecture,Storage Media,Volume Type,Max Volume Size,Max IOPS/volume,Max IOPS Burst "
    "Performance,Max throughput/volume,Provisioned,Tenancy,EBS Optimized,Operating System,License Model,Group,Group "
    "Description,Transfer Type,From Location,From Location Type,To Location,To Location Type,usageType,operation,"
    "AvailabilityZone,CapacityStatus,ClassicNetworkingSupport,Dedicated EBS Throughput,ECU,Elastic Graphics Type,"
    "Enhanced Networking Supported,From Region Code,GPU,GPU Memory,Instance,Instance Capacity - 10xlarge,Instance "
    "Capacity - 12xlarge,Instance Capacity - 16xlarge,Instance Capacity - 18xlarge,Instance Capacity - 24xlarge,"
    "Instance Capacity - 2xlarge,Instance Capacity - 32xlarge,Instance Capacity - 4xlarge,Instance Capacity - 8xlarge,"
    "Instance Capacity - 9xlarge,Instance Capacity - large,Instance Capacity - medium,Instance Capacity - metal,"
    "Instance Capacity - xlarge,instanceSKU,Intel AVX2 Available,Intel AVX Available,Intel Turbo Available,"
    "MarketOption,Normalization Size Factor,Physical Cores,Pre Installed S/W,Processor Features,Product Type,Region "
    "Code,Resource Type,serviceName,SnapshotArchiveFeeType,To Region Code,Volume API Name,VPCNetworkingSupport"
)
COLUMNS = next(csv.reader([_HEADER]))
PREAMBLE = (
    ("FormatVersion", "v1.0"),
    ("Disclaimer", "This pricing list is for informational purposes only."),
    ("Publication Date", "2025-09-12T22:53:08Z"),
    ("Version", "20250912225308"),
    ("OfferCode", "AmazonEC2"),
)
PLAIN = {
    "TermType": "OnDemand", "Unit": "Hrs", "Currency": "USD", "Location Type": "AWS Region", "Tenancy": "Shared",
    "Operating System": "Linux", "Pre Installed S/W": "NA", "CapacityStatus": "Used", "MarketOption": "OnDemand",
    "Region Code": "us-east-1", "serviceCode": "AmazonEC2", "OfferTermCode": "JRTCKXETXF", "LeaseContractLength": "",
    "PriceDescription": "$0.1000000000 per On Demand Linux c6i.large Instance Hour",
    "Location": "US East (N. Virginia)", "Physical Processor": "Intel Xeon 8375C (Ice Lake)",
    "Network Performance": "Up to 12500 Megabit", "Processor Features": "Intel AVX; Intel AVX2; Intel AVX512",
    "serviceName": "Amazon Elastic Compute Cloud", "usageType": "BoxUsage:c6i.large", "operation": "RunInstances",
}  # fmt: skip


def peak_rss_mib() -> float:
    """Of this program alone: getrusage also counts what the process that started it held when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def list_of(rows: list[dict[str, str]], columns: Sequence[str] = COLUMNS) -> bytes:
    """A price list with these rows, each laid over PLAIN."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows((*PREAMBLE, columns))
    writer.writerows([({**PLAIN, **row}).get(name, "") for name in columns] for row in rows)
    return out.getvalue().encode()


def chunks(megabytes: float) -> Iterator[bytes]:
    """A list of this size, in pieces of one to two MiB: a GPU machine and reservations among every thousand rows."""
    yield list_of([])
    kinds = [
        {"Instance Type": "p5.48xlarge", "PricePerUnit": "55.04", "GPU": "8"},
        {"Instance Type": "p6-b200.48xlarge", "PricePerUnit": "113.93", "GPU": "8", "Region Code": "us-west-2"},
    ]
    plain = [{"SKU": f"S{n:07}", "Instance Type": "c6i.large", "PricePerUnit": "0.1"} for n in range(998)]
    block = list_of([*kinds, *plain]).split(b"\n", len(PREAMBLE) + 1)[-1]
    for _ in range(max(1, round(megabytes * 1e6 / len(block)))):
        yield block


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=1000.0)
    wanted = parser.parse_args().megabytes
    size = 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks(wanted):
            size += len(chunk)
            yield chunk

    tally, start = Tally(), time.perf_counter()
    prices = sum(1 for _ in aws_list.read(counted(), "made", tally))
    took = time.perf_counter() - start
    peak = peak_rss_mib()
    told = {
        "megabytes": round(size / 1e6), "rows": tally.read, "prices": prices, "seconds": round(took, 1),
        "peak_rss_mib": round(peak),
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
