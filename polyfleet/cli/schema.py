"""`polyfleet schema`: the JSON Schemas of the documents, for editors and other programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """The documents that have a schema."""

    SPEC = "spec"
    PLAN = "plan"


def schema(document: Annotated[Document, typer.Argument(help="Which document.")]) -> None:
    """Print the JSON Schema of a document."""
    import json

    from polyfleet import api

    typer.echo(json.dumps(api.json_schema(document.value), indent=2))
