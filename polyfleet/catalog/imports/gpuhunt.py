"""dstack's gpuhunt: a zip of CSVs, one per provider."""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from polyfleet.catalog.imports.fetch import Fetch
from polyfleet.catalog.imports.listed import Listed, Tally, cheapest_of_zones
from polyfleet.catalog.imports.numbers import figure, price_of
from polyfleet.catalog.imports.stream import CsvRows
from polyfleet.errors import CatalogError
from polyfleet.terms.offer import Purchase

_BASE = "https://dstack-gpu-pricing.s3.eu-west-1.amazonaws.com/v3/{provider}/"
VERSION, ADDRESS = _BASE + "version", _BASE + "{version}/catalog.zip"
PROVIDERS = {
    "aws": "aws", "azure": "azure", "gcp": "gcp", "lambdalabs": "lambda", "nebius": "nebius", "oci": "oci",
    "hotaisle": "hotaisle", "vultr": "vultr",
}  # fmt: skip
"""gpuhunt's names of providers whose regions the catalog knows, and the catalog's."""
COLUMNS = ("instance_name", "location", "price", "cpu", "memory", "gpu_count", "gpu_name", "gpu_memory", "spot")
_LARGEST = 1 << 30
_IN_MEMORY = 32 << 20
_READ = 1 << 18


def address(fetch: Fetch, provider: str) -> str:
    """The address of the newest list of a provider (gpuhunt's name). Raises CatalogError."""
    url = VERSION.format(provider=provider)
    version = b"".join(fetch(url).chunks)[:100].decode("ascii", "replace").strip()
    if not re.fullmatch(r"[\w.-]{1,40}", version):
        raise CatalogError("no version is told", file=url, value=version)
    return ADDRESS.format(provider=provider, version=version)


def dated(version: str) -> str:
    """The day that a version's name or an address with it begins with, empty where it does not."""
    found = re.search(r"(?<!\d)(20\d\d)(0[1-9]|1[0-2])([0-2]\d|3[01])(?!\d)", version)
    return "-".join(found.groups()) if found else ""


def read_zip(chunks: Iterable[bytes], url: str, as_of: str, tally: Tally, provider: str = "") -> Iterator[Listed]:
    """Prices of every provider in a zip; `provider` (gpuhunt's name) where its file does not bear one. At most 1 GiB
    unpacked. Raises CatalogError."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as packed:
        for chunk in chunks:
            packed.write(chunk)
        packed.seek(0)
        try:
            with zipfile.ZipFile(packed) as archive:
                members = [m for m in archive.infolist() if m.filename.endswith(".csv")]
                if not members:
                    raise CatalogError("has no CSV in it", file=url)
                for member in members:
                    name = PurePosixPath(member.filename).stem
                    owner = PROVIDERS.get(name) or PROVIDERS.get(provider)
                    if owner is None:
                        tally.leave_out("a provider that the catalog does not know", name)
                        continue
                    yield from read(_member(archive, member, url), owner, f"{url}#{member.filename}", as_of, tally)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError) as error:
            raise CatalogError(f"is no whole zip: {error}", file=url) from None
        except (ValueError, OverflowError) as error:
            raise CatalogError(f"is no zip of price lists: {error}", file=url) from None


def read(chunks: Iterable[bytes], provider: str, url: str, as_of: str, tally: Tally) -> Iterator[Listed]:
    """Prices of one provider's CSV. Raises CatalogError."""
    rows = CsvRows(chunks, url)
    return cheapest_of_zones(_prices(rows, provider, url, as_of, tally))


def _prices(rows: CsvRows, provider: str, url: str, as_of: str, tally: Tally) -> Iterator[Listed]:
    kind, region, price, cpu, memory, count, name, gib, spot = rows.columns(*COLUMNS)
    for cells in rows:
        tally.read += 1
        usd, chips = price_of(cells[price]), figure(cells[count])
        if not chips:
            tally.leave_out("no chips")
        elif usd is None or cells[spot].lower() not in {"true", "false"}:
            tally.leave_out("no price, or unclear whether it is spot", cells[kind])
        else:
            purchase = Purchase.SPOT if cells[spot].lower() == "true" else Purchase.ON_DEMAND
            yield Listed(
                provider, cells[region], cells[kind], purchase, usd, url, as_of, cells[name], chips,
                figure(cells[gib]) or 0.0, figure(cells[cpu]) or 0.0, figure(cells[memory]) or 0.0,
            )  # fmt: skip


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, url: str) -> Iterator[bytes]:
    got = 0
    with archive.open(member) as file:
        while chunk := file.read(_READ):
            got += len(chunk)
            if got > _LARGEST:
                raise CatalogError("is larger than 1 GiB unpacked", file=url, value=member.filename)
            yield chunk
