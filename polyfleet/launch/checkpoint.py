"""Reads a Hugging Face folder: config, tokenizer, chat template, and tensors without copying them into memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from polyfleet.errors import ModelError

NUMPY_TYPES: Mapping[str, str] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Formats of safetensors by the type that holds their bits."""
_MOST_HEADER_BYTES = 100 * 1024 * 1024  # the limit that safetensors' own reader sets


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as it lies in its file. `kind` is its safetensors format; bfloat16 comes as 16-bit patterns."""

    name: str
    kind: str
    bits: npt.NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """A folder with `config.json`, `tokenizer.json` and safetensors. Reading raises ModelError, naming the file."""

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return self._json("config.json")

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        return self._json("tokenizer.json")

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        return self._json("tokenizer_config.json", missing={})

    @property
    def chat_template(self) -> str | None:
        """Jinja text, from a file of its own or from `tokenizer_config.json`."""
        own = self.folder / "chat_template.jinja"
        if own.is_file():
            return own.read_text(encoding="utf-8")
        found = self.tokenizer_config.get("chat_template")
        return found if isinstance(found, str) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors, sorted by name."""
        found = tuple(sorted(self.folder.glob("*.safetensors")))
        if not found:
            raise ModelError("there are no .safetensors here", file=str(self.folder))
        return found

    def tensors(self) -> Iterator[Tensor]:
        """All tensors, file by file."""
        for file in self.files:
            yield from _tensors(file)

    def _json(self, name: str, missing: dict[str, Any] | None = None) -> dict[str, Any]:
        path = self.folder / name
        if missing is not None and not path.is_file():
            return missing
        try:
            value = json.loads(path.read_bytes())
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror}", file=str(path)) from None
        except (ValueError, RecursionError):
            raise ModelError("is not JSON", file=str(path)) from None
        if not isinstance(value, dict):
            raise ModelError("must hold one JSON object", file=str(path), value=type(value).__name__)
        return value


def _tensors(file: Path) -> Iterator[Tensor]:
    try:
        header, start = _header(file)
        data: npt.NDArray[Any] = np.memmap(file, dtype=np.uint8, mode="r", offset=start)
        for name, entry in header.items():
            if name != "__metadata__":
                yield _tensor(name, entry, data)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}", file=str(file)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError("is not a whole safetensors file", file=str(file), hint="fetch it again") from None


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The table of tensors, and where their bytes begin: 8 bytes of length, JSON, then the data."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _MOST_HEADER_BYTES:
            raise ValueError(length)
        return json.loads(opened.read(length)), 8 + length


def _tensor(name: str, entry: Mapping[str, Any], data: npt.NDArray[Any]) -> Tensor:
    kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in NUMPY_TYPES:
        hint = "give a GGUF file of it, or a checkpoint in bfloat16"
        raise ModelError(f"the tensor {name} is in a format polyfleet does not convert", value=kind, hint=hint)
    bits = data[begin:end].view(NUMPY_TYPES[kind])
    if len(bits) != math.prod(shape):
        raise ValueError(name)
    return Tensor(name, kind, bits.reshape(shape))
