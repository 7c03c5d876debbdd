"""What `up` and `doctor` are asked about: a spec's replicas, here or of its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from polyfleet.api.launching import Asked
    from polyfleet.launch.home import Home
    from polyfleet.terms.spec_text import SpecSource

On = Literal["sky", "kubernetes"]


def asked_of(source: SpecSource, home: Home, on: On | None, plan_file: Path | None, *, stale: bool) -> Asked:
    """The replicas that a spec asks for. Raises what the functions of `api.launching` raise."""
    from polyfleet import api
    from polyfleet.api import launching
    from polyfleet.cli.terminal import progress

    if plan_file is None and not launching.is_planned(source, on):
        return launching.local_fleet(source, home.folder)
    if plan_file is not None:
        plan = api.load_plan(plan_file)
        launching.require_current(plan, source, stale=stale)
    else:
        with progress("planning") as tell:
            plan = launching.plan_for(source, home.folder, tell)
    return launching.planned_fleet(source, plan, on)
