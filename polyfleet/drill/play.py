"""A whole drill: with a gate of its own and proxies, or against a gate that runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from polyfleet.drill.own_gate import free_port, gate_command, running_gate
from polyfleet.drill.report import DrillReport
from polyfleet.drill.run import Course, run_drill
from polyfleet.drill.stage import Mirror, RoutesStage

Tell = Callable[[str], None]
Command = Callable[[Path, int], list[str]]


async def against(
    endpoint: str, routes: Path, course: Course, *, key: str | None, model: str | None, tell: Tell
) -> DrillReport:
    """A gate that runs, whose replicas are those of `routes`. Raises LaunchError as `run_drill` does."""
    return await run_drill(RoutesStage(endpoint, routes, key=key), course, model=model, tell=tell)


async def behind_own_gate(
    routes: Path,
    course: Course,
    *,
    model: str | None = None,
    slow_ms: float = 100.0,
    tell: Tell = lambda _text: None,
    command: Command | None = None,
) -> DrillReport:
    """A gate of the drill's own in front of the replicas of `routes`, reached through proxies.

    `command` makes the gate's command line from its routes file and port (None: polyfleet's gate).
    Raises LaunchError where it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="polyfleet-drill-") as folder:
        mirror = Mirror(routes, Path(folder) / "routes.json", slow_ms=slow_ms)
        await mirror.start()
        try:
            port = free_port()
            line = (command or gate_command)(mirror.mirrored, port)
            async with running_gate(line, port, Path(folder) / "gate.log") as endpoint:
                stage = RoutesStage(endpoint, routes, proxies=mirror.proxies)
                return await run_drill(stage, course, model=model, tell=tell)
        finally:
            await mirror.close()
