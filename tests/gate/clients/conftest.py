"""The fleet that users' clients are tried on; the toys that it is made of lie under relay/ and tools/."""

import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE, _HERE.parent / "relay", _HERE.parents[2] / "tools"):
    sys.path.insert(0, str(_folder))


@pytest.fixture(scope="package")
def fleet(tmp_path_factory):
    from real_fleet import fleet_in

    with fleet_in(tmp_path_factory.mktemp("fleet")) as running:
        yield running
