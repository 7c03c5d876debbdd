"""`python -m polyfleet.gate.worker`: one of several gate processes; started by `polyfleet gate --workers N` alone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

import uvloop

from polyfleet.database import default_url, open_database
from polyfleet.gate.app import serve
from polyfleet.gate.processes import GateCommand, calm_collector, end_with
from polyfleet.settings import Settings


def main() -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    asked = _parser().parse_args()
    command = GateCommand(
        routes=asked.routes, state=asked.state, host=asked.host, port=asked.port, workers=asked.workers,
        keys=not asked.no_keys, access_log=asked.access_log, otlp=asked.otlp, keep_s=asked.keep, drain_s=asked.drain,
        max_wait_s=asked.max_wait, body_bytes=asked.max_body,
    )  # fmt: skip
    engine = None
    if command.keys or command.state:
        engine = open_database(command.state or default_url(Settings.from_environment()))
    door = command.door(engine)

    async def run() -> None:
        watch = asyncio.ensure_future(end_with(asked.parent))
        await serve(command.settings(), door)
        watch.cancel()

    calm_collector()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m polyfleet.gate.worker")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--routes", type=Path, required=True)
    parser.add_argument("--state")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--no-keys", action="store_true")
    parser.add_argument("--access-log", type=Path)
    parser.add_argument("--otlp")
    parser.add_argument("--keep", type=float, required=True)
    parser.add_argument("--drain", type=float, required=True)
    parser.add_argument("--max-wait", type=float, required=True)
    parser.add_argument("--max-body", type=int, required=True)
    return parser


if __name__ == "__main__":
    main()
