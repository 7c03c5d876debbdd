"""The option that says where the state is kept, and opening it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

StateUrl = Annotated[
    str | None,
    typer.Option(
        "--state", envvar="POLYFLEET_STATE", show_envvar=False,
        help="Where the state is kept: postgresql://USER@HOST/DATABASE for several hosts; default: a file here.",
    ),
]  # fmt: skip


@contextmanager
def open_state(url: str | None) -> Iterator[Engine]:
    """The database at an address, None: the project's own file. Raises MissingExtraError, and InputError for an address
    that does not answer."""
    from polyfleet.errors import InputError, MissingExtraError
    from polyfleet.files import make_folder
    from polyfleet.settings import Settings

    try:
        from sqlalchemy.exc import SQLAlchemyError

        import polyfleet.gate.keys  # noqa: F401  (it needs what the extra brings)
        from polyfleet.database import default_url, open_database
    except ImportError:
        raise MissingExtraError("the state of a fleet", "serve") from None
    if url and url.startswith(("postgres:", "postgresql:", "postgresql+")):
        try:
            import psycopg  # noqa: F401 - only whether it is there
        except ImportError:
            raise MissingExtraError("a state in PostgreSQL", "postgres") from None
    settings = Settings.from_environment()
    if url is None:
        make_folder(settings.home)
    engine = open_database(url or default_url(settings))
    try:
        yield engine
    except SQLAlchemyError as error:
        first = str(getattr(error, "orig", error)).strip().split("\n")[0]
        raise InputError(f"the state cannot be used: {first}") from None
    finally:
        engine.dispose()
