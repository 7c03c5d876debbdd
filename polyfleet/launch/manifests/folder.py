"""Writes rendered files into a folder of the user's, and touches nothing there that it did not write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from polyfleet.errors import InputError
from polyfleet.files import make_folder, read_text, write_whole

INDEX = "polyfleet-manifests.json"
_VERSION = 1
_Known = dict[str, list[str]]


def write_folder(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Write all files whole; those of an earlier run that are no longer wanted go. Returns the paths removed.

    The index of what is ours, with its digests, is written before anything else and again at the end, so that a run
    that was cut short is taken up by the next. Raises InputError, before anything is changed, where a file there is
    not ours or was changed since.
    """
    known = _index(folder)
    stale = sorted(set(known) - set(files))
    for path in (*files, *stale):
        _refuse_foreign(folder, path, known)
    make_folder(folder)
    wanted: _Known = {path: [_digest(text)] for path, text in files.items()}
    _write_index(folder, {path: sorted({*wanted.get(path, []), *known.get(path, [])}) for path in {*wanted, *known}})
    for path, text in files.items():
        make_folder((folder / path).parent)
        write_whole(folder / path, text)
    for path in stale:
        (folder / path).unlink(missing_ok=True)
    _write_index(folder, wanted)
    return tuple(stale)


def _refuse_foreign(folder: Path, path: str, known: _Known) -> None:
    file = folder / path
    if not file.exists() and not file.is_symlink():
        return
    if path not in known:
        raise InputError(
            "there is a file already that polyfleet did not write", file=str(file), hint="name another folder"
        )
    if file.is_symlink() or not file.is_file() or _digest(read_text(file)) not in known[path]:
        raise InputError(
            "the file was changed after polyfleet wrote it", file=str(file),
            hint="move your change to a kustomize overlay and delete the file, or name another folder",
        )  # fmt: skip


def _index(folder: Path) -> _Known:
    file = folder / INDEX
    if not file.exists():
        return {}
    try:
        read = json.loads(read_text(file))
        known = {str(path): [str(d) for d in digests] for path, digests in read["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError("this is no index of polyfleet's", file=str(file), hint="name another folder") from None
    for path in known:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError("the index names a file outside its folder", file=str(file), value=path)
    return known


def _write_index(folder: Path, known: _Known) -> None:
    text = json.dumps({"version": _VERSION, "files": dict(sorted(known.items()))}, indent=1)
    write_whole(folder / INDEX, text + "\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
