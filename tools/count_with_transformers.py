"""Counts parameters with the reference code: `python tools/count_with_transformers.py RAW_FOLDER > counts.csv`.

Needs torch and transformers (not dependencies of polyfleet); builds each model on torch's meta device, which holds no
weights. Routers' correction biases, which transformers keeps as buffers, are counted; towers are not. Models that
transformers does not know, or whose config here is trimmed to what polyfleet reads, are left out.
"""

from __future__ import annotations

import csv
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

BY_HAND = Path(__file__).parent / "models_by_hand.json"
BIAS_BUFFERS = ("correction_bias", "expert_bias")
TOWERS = ("visual", "vision", "multi_modal_projector")
SAME_CLASS = {"kimi_k2": "deepseek_v3"}
TRIMMED = ("gemma-4", "Ling", "Kimi-Linear", "AWQ", "GPTQ", "MXFP", "NVFP4", "FP8")


def main(raw_folder: str) -> int:
    """Write one row a model to standard output."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["name", "parameters"])
    for name, config in sorted(_configs(Path(raw_folder))):
        try:
            out.writerow([name, _count(config)])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            print(f"{name}: left out: {error!r:.100}", file=sys.stderr)
    return 0


def _configs(raw: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in raw.glob("*.json"):
        if not path.stem.startswith(("nvidia--", "sgl-project--")) or "BF16" in path.stem or "Nemotron-H" in path.stem:
            yield path.stem.replace("--", "/", 1), json.loads(path.read_text(encoding="utf-8"))
    for name, entry in json.loads(BY_HAND.read_text(encoding="utf-8")).items():
        if not any(word in name for word in TRIMMED):
            yield name, entry["config"]


def _count(config: dict[str, Any]) -> int:
    values = {k: v for k, v in config.items() if k not in ("architectures", "transformers_version")}
    values.pop("quantization_config", None)
    model_type = values.pop("model_type")
    if model_type == "step3p7":
        values = {"text_config": values}
    text = values.get("text_config", {})
    text.pop("quantization_config", None)
    tied = text.get("tie_word_embeddings", values.get("tie_word_embeddings"))
    if text and tied is not None:
        text["tie_word_embeddings"] = values["tie_word_embeddings"] = tied
    if text.get("model_type") in SAME_CLASS:
        values, model_type = {k: v for k, v in text.items() if k != "model_type"}, text["model_type"]
    settings = transformers.CONFIG_MAPPING[SAME_CLASS.get(model_type, model_type)](**values)
    known = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    kind = transformers.AutoModelForCausalLM if type(settings) in known else transformers.AutoModelForImageTextToText
    with torch.device("meta"):
        model = kind.from_config(settings)
    parts = dict(model.named_parameters())
    parts |= {k: b for k, b in model.named_buffers() if k.endswith(BIAS_BUFFERS)}
    return sum(p.numel() for k, p in parts.items() if not any(word in k for word in TOWERS))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1]))
