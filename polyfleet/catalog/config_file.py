"""Reads a config.json from disk, with what ModelOpt writes beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polyfleet.errors import ModelError

MOST_BYTES = 32 * 1024 * 1024  # a quantisation config that names every expert stays below 10 MB


def looks_like_path(text: str) -> bool:
    """Whether a text that is no known model name means a path: it exists, or is written like one."""
    try:
        exists = Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
    return exists or text.startswith(("./", "../", "/", "~")) or text.endswith(".json")


def read_config(path: Path) -> dict[str, Any]:
    """The config as a dictionary; `hf_quant_config.json` beside it fills in a missing `quantization_config`.

    Raises ModelError with file and line where it is missing, too large, no JSON, or holds no object.
    """
    config = _read_object(path)
    beside = path.with_name("hf_quant_config.json")
    if config.get("quantization_config") is None and beside.is_file():
        quantization = _read_object(beside).get("quantization")
        if not isinstance(quantization, dict):
            raise ModelError("has no object 'quantization'", file=str(beside))
        config["quantization_config"] = {"quant_method": "modelopt", **quantization}
    return config


def _read_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError("is too large for a config.json", file=str(path), value=path.stat().st_size)
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ModelError(f"is not JSON: {error.msg}", file=str(path), line=error.lineno) from None
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise ModelError("is not a JSON text polyfleet can read", file=str(path)) from None
    except OSError as error:
        hint = "give a folder that holds a config.json, or the file itself"
        raise ModelError(f"cannot be read: {error.strerror}", file=str(path), hint=hint) from None
    if not isinstance(value, dict):
        raise ModelError("must hold one JSON object", file=str(path), value=type(value).__name__)
    return value
