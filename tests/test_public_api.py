"""`import polyfleet` costs nothing and offers what `polyfleet.api` does."""

import subprocess
import sys

import pytest

import polyfleet
from polyfleet import api


def test_the_names_are_those_of_the_api():
    assert polyfleet.__all__ == api.__all__ == sorted(api.__all__)
    assert all(getattr(polyfleet, name) is getattr(api, name) for name in api.__all__)
    assert set(api.__all__) <= set(dir(polyfleet))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = polyfleet.nothing


def test_a_star_import_gives_them():
    names: dict[str, object] = {}
    exec("from polyfleet import *", names)
    assert set(api.__all__) <= set(names)


@pytest.mark.parametrize("module", ["polyfleet", "polyfleet.cli.main"])
def test_importing_loads_no_heavy_library(module):
    code = f"import sys, {module}; print(*sorted({{'numpy', 'scipy', 'polyfleet.api', 'pydantic'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
