"""Where polyfleet keeps what the user gives it. Settings come from the environment, nothing else.

POLYFLEET_HOME   folder of the user's own measurements; default `.polyfleet` in the current folder
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one run. `home` need not exist until something is written."""

    home: Path

    @classmethod
    def from_environment(cls) -> Settings:
        return cls(Path(os.environ.get("POLYFLEET_HOME") or ".polyfleet"))

    @property
    def measurements(self) -> Path:
        """The user's measured rows, as `polyfleet calibrate` keeps them."""
        return self.home / "measurements.csv"
