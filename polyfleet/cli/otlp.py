"""The option that says where traces go."""

from __future__ import annotations

from typing import Annotated

import typer

Otlp = Annotated[
    str | None,
    typer.Option(
        "--otlp", envvar="OTEL_EXPORTER_OTLP_ENDPOINT", show_envvar=False, metavar="URL",
        help="Send OpenTelemetry traces to this OTLP/HTTP collector, such as http://127.0.0.1:4318.",
    ),
]  # fmt: skip
