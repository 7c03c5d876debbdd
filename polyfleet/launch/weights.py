"""Where a model's weights lie: the packaged tiny model, or the user's own folder or file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from polyfleet.errors import InputError, ModelError
from polyfleet.files import make_folder
from polyfleet.launch.checkpoint import Checkpoint
from polyfleet.launch.gguf_file import LAYOUT, write_gguf

TINY = "polyfleet/tiny"
"""The model that comes with polyfleet, for trying things out."""
_TINY_FOLDER = Path(__file__).with_name("tiny")
_SMALL_BYTES = 64 * 1024 * 1024
"""Larger files count as changed by their size and time, since reading them would take longer than starting; and smaller
weights are widened to 32 bits, which costs them nothing."""
_MAGIC = b"GGUF"


def find_folder(model: str) -> Path:
    """The Hugging Face folder of a model: of `polyfleet/tiny`, or the user's own.

    Raises ModelError where there is none. vLLM and Transformers read it as it is.
    """
    if model.strip().casefold() == TINY:
        return _TINY_FOLDER
    path = Path(model).expanduser()
    if not (path / "config.json").is_file():
        hint = f"write {TINY}, or a folder that holds a config.json and safetensors"
        raise ModelError("there are no weights of this model here", value=model, hint=hint)
    return path.resolve()


def find_weights(model: str, home: Path) -> Path:
    """A GGUF file of the model, for llama.cpp. A folder is converted once, into `home`/weights.

    `model`: `polyfleet/tiny`, a GGUF file, a folder that holds one, or a Hugging Face folder of the Llama architecture.
    Raises ModelError for anything else, InputError where `home` cannot be written, MissingExtraError without `gguf`.
    Safe to call from several processes at once: a file is there whole or not at all.
    """
    own = _own_gguf(Path(model).expanduser()) if model.strip().casefold() != TINY else None
    if own is not None:
        return own
    checkpoint = Checkpoint(find_folder(model))
    name = "tiny" if checkpoint.folder == _TINY_FOLDER else checkpoint.folder.name
    target = home.resolve() / "weights" / f"{name}-{_digest(checkpoint)}.gguf"
    if not target.is_file():
        make_folder(target.parent)
        with _whole(target) as unfinished:
            write_gguf(checkpoint, unfinished, name, widened=_is_small(checkpoint))
    return target


def _own_gguf(path: Path) -> Path | None:
    """The user's GGUF file: the path itself, or the only one of a folder (of a split one, its first part)."""
    if path.is_dir():
        found = sorted(path.glob("*.gguf"))
        first = [file for file in found if "-00001-of-" in file.name] or found
        if len(first) > 1:
            names = ", ".join(file.name for file in first[:5])
            raise ModelError("several GGUF files are here: name one", value=str(path), hint=f"there are {names}")
        path = first[0] if first else path
    if not path.is_file():
        return None
    try:
        with path.open("rb") as opened:
            magic = opened.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", file=str(path)) from None
    if magic != _MAGIC:
        raise ModelError("is no GGUF file", file=str(path), hint="give a GGUF file, or a folder with a config.json")
    return path.resolve()


def _is_small(checkpoint: Checkpoint) -> bool:
    return sum(path.stat().st_size for path in checkpoint.files) <= _SMALL_BYTES


def _digest(checkpoint: Checkpoint) -> str:
    """Changes with the weights, their tokenizer, and the layout that is written."""
    digest = hashlib.sha256(f"layout {LAYOUT}\n".encode())
    beside = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    for path in (*(checkpoint.folder / name for name in beside), *checkpoint.files):
        if path.is_file():
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            digest.update(path.read_bytes() if size <= _SMALL_BYTES else str(path.stat().st_mtime_ns).encode())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place once it is written; removed if that fails."""
    unfinished: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        unfinished = Path(name)
        yield unfinished
        with unfinished.open("rb+") as written:
            os.fsync(written.fileno())
        unfinished.chmod(0o644)
        unfinished.replace(target)
    except OSError as error:
        reason = error.strerror or "the disk took only a part of it"  # numpy's own error has no errno
        raise InputError(f"cannot be written: {reason}", file=str(target)) from None
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
