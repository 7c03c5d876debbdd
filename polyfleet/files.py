"""Reading and writing files of the user: errors in the user's words, and never half a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from polyfleet.errors import InputError


def read_text(path: Path, kind: type[InputError] = InputError) -> str:
    """The text of a file. Raises `kind` where it is missing, a folder, unreadable or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise kind("there is no such file", file=str(path)) from None
    except IsADirectoryError:
        raise kind("this is a folder, not a file", file=str(path)) from None
    except PermissionError:
        raise kind("you may not read this file", file=str(path), hint="ask for the right to, or copy it") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise kind("not UTF-8 text", file=str(path), line=line) from None
    except OSError as error:
        raise kind(f"cannot be read: {error.strerror}", file=str(path)) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file so that at every moment the old one or the new one is there, never a part.

    A link is followed; what is no plain file (a device, a pipe) is written to, not replaced. Raises InputError where
    the folder is missing or not writable, or the disk is full; the old file then stands.
    """
    path = path.resolve()
    temporary: str | None = None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_text(text, encoding="utf-8")
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except FileNotFoundError:
        raise _no_folder(path) from None
    except OSError as error:
        _remove(temporary)
        raise InputError(f"cannot be written: {error.strerror}", file=str(path)) from None
    except BaseException:
        _remove(temporary)
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises InputError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "set POLYFLEET_HOME to a folder that you may write" if path.name else None
        raise InputError(f"cannot be made a folder: {error.strerror}", file=str(path), hint=hint) from None


def check_writable(path: Path) -> None:
    """Raises InputError where a file could not be written here, so that one learns it before a long computation."""
    folder = path.resolve().parent
    if path.is_dir():
        raise InputError("this is a folder, not a file", file=str(path))
    if not folder.is_dir():
        raise _no_folder(path)
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError("it may not be written", file=str(path))


def _no_folder(path: Path) -> InputError:
    folder = path.resolve().parent
    return InputError("its folder does not exist", file=str(path), hint=f"make {folder.name}/ first")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(path: str | None) -> None:
    if path is not None:
        with contextlib.suppress(OSError):
            os.unlink(path)
