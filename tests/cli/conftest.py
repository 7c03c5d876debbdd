"""Running the command line in a process of its own, as a user does."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def polyfleet(tmp_path):
    """Run `polyfleet ARGS` in an empty folder; gives the finished process."""

    def run(*args, cwd: Path = tmp_path):
        return subprocess.run(
            [sys.executable, "-m", "polyfleet", *map(str, args)], cwd=cwd, capture_output=True, text=True, check=False
        )

    return run
