"""Writes the packaged model configs: `python tools/curate_models.py RAW_FOLDER`.

RAW_FOLDER holds config.json files named `org--model.json`; `models_by_hand.json` beside this script holds those that
were retyped. Each is trimmed to the keys that change what polyfleet reads from it, and written one file a model with
an index. The same input gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from polyfleet.errors import ModelError
from polyfleet.terms.architecture import model_from_config

TABLES = Path(__file__).parent.parent / "polyfleet" / "catalog" / "tables" / "models"
BY_HAND = Path(__file__).parent / "models_by_hand.json"
RAW_SOURCE = "config.json as the publisher has it, through aiconfigurator-core 0.12.0"
RAW_DATE = "2026-11-24"
ALWAYS = {"architectures", "model_type"}

# ModelOpt writes the quantisation of these repositories into hf_quant_config.json, which is not among the raw files;
# the names state the format, the model cards the FP8 cache.
MODELOPT: dict[str, dict[str, Any]] = {
    "nvidia/DeepSeek-V3.1-NVFP4": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
    "nvidia/DeepSeek-V3.2-NVFP4": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
    "nvidia/GLM-5-NVFP4": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
    "nvidia/Llama-3.1-70B-Instruct-FP8": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    "nvidia/MiniMax-M3-NVFP4": {"quant_algo": "NVFP4", "exclude_modules": ["*self_attn*"]},
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4": {"quant_algo": "NVFP4", "exclude_modules": ["*attention*"]},
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4": {"quant_algo": "NVFP4", "exclude_modules": ["*attention*"]},
    "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-FP8": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4": {"quant_algo": "NVFP4", "exclude_modules": ["*attention*"]},
    "nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4": {"quant_algo": "NVFP4", "exclude_modules": ["*attention*"]},
    "nvidia/Qwen3-235B-A22B-NVFP4": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
}
MODELOPT_NOTE = "; quantisation from the repository's name and card, hf_quant_config.json was not read"


def main(raw_folder: str) -> int:
    """Write every config and the index; returns the exit code."""
    entries = {**_raw(Path(raw_folder)), **json.loads(BY_HAND.read_text(encoding="utf-8"))}
    configs = TABLES / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    wanted = {_file(name) for name in entries}
    for old in configs.glob("*.json"):
        if old.name not in wanted:
            old.unlink()
    for name in sorted(entries):
        (configs / _file(name)).write_text(_dump(trimmed(entries[name]["config"], name)), encoding="utf-8")
    (TABLES / "index.csv").write_text(_index(entries), encoding="utf-8")
    print(f"{len(entries)} configs written")
    return 0


def trimmed(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The config without every key whose absence changes nothing that polyfleet reads."""
    whole: dict[str, Any] = json.loads(json.dumps(config))
    want = model_from_config(whole, name=name)

    def same() -> bool:
        try:
            return model_from_config(whole, name=name) == want
        except ModelError:
            return False

    def trim(part: dict[str, Any]) -> None:
        for key in sorted(part):
            if key in ALWAYS:
                continue
            value = part.pop(key)
            if same():
                continue
            part[key] = value
            if isinstance(value, dict):
                trim(value)
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                for item in value:
                    trim(item)
            elif key == "targets":
                part[key] = _shortest(part, key, same)

    trim(whole)
    return whole


def _shortest(part: dict[str, Any], key: str, same: Any) -> list[Any]:
    kept = list(part[key])
    for item in list(kept):
        part[key] = [other for other in kept if other != item]
        if same():
            kept = part[key]
    return kept


def _raw(folder: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        name = path.stem.replace("--", "/", 1)
        config, source = json.loads(path.read_text(encoding="utf-8")), RAW_SOURCE
        if name in MODELOPT:
            config["quantization_config"] = {"quant_method": "modelopt", **MODELOPT[name]}
            source += MODELOPT_NOTE
        found[name] = {"config": config, "source": source, "as_of": RAW_DATE}
    if not found:
        raise SystemExit(f"{folder}: holds no config.json files named org--model.json")
    return found


def _file(name: str) -> str:
    return name.replace("/", "--") + ".json"


def _dump(config: dict[str, Any]) -> str:
    """One key a line, lists on one line: small files and readable diffs."""
    lines = [f"  {json.dumps(key)}: {json.dumps(config[key], sort_keys=True)}" for key in sorted(config)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _index(entries: dict[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "file", "as_of", "source"])
    for name in sorted(entries):
        writer.writerow([name, _file(name), entries[name]["as_of"], entries[name]["source"]])
    return out.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1]))
