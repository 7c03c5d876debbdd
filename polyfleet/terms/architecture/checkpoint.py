"""From a `quantization_config` to the formats that a checkpoint is stored in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.model import Checkpoint
from polyfleet.terms.precision import Precision

_ATTENTION_WORDS = ("self_attn", "attn", "attention", "mixer")
_ATTENTION_ENDS = ("attn", "attention", "q_proj", "qkv_proj", "q_b_proj", "query_key_value", "in_proj_qkv")
_TOWERS = ("vision", "visual", "tower", "audio", "mtp", "cross")
_MLP_WORDS = ("mlp", "feed_forward", "ffn")
_ALGORITHMS = {
    "FP8": Precision.FP8,
    "FP8_PB_WO": Precision.FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": Precision.FP8,
    "NVFP4": Precision.NVFP4,
    "NVFP4_AWQ": Precision.NVFP4,
    "W4A16_AWQ": Precision.INT4,
    "W4A8_AWQ": Precision.INT4,
    "W8A8_SQ_PER_CHANNEL": Precision.INT8,
    "MXFP8": Precision.MXFP8,
    "MXFP4": Precision.MXFP4,
}
_BY_WIDTH = {("int", 4): Precision.INT4, ("int", 8): Precision.INT8, ("float", 8): Precision.FP8}


def read_checkpoint(
    config: Config, text: Config, *, latent_attention: bool, moe: bool, layers: int, cache: Precision = Precision.BF16
) -> Checkpoint:
    """The formats a checkpoint is stored in.

    `config` is the whole config.json, `text` its language part; either may hold `quantization_config`. `cache` is the
    format of the KV cache where the config names none. Lists of
    modules left alone are respected; where a 4-bit config of a model with latent attention and experts lists none,
    its attention is taken as left alone, as every publisher of such checkpoints does. Raises ModelError for a method
    that is not known.
    """
    holder = next((c for c in (config, text) if c.has("quantization_config")), None)
    if holder is None:
        return Checkpoint(Precision.BF16, kv_precision=cache)
    quant = holder.section("quantization_config")
    kv = _kv_precision(quant, cache)
    if text.text("expert_dtype", "") == "fp4" or quant.has("moe_quant_algo"):
        algo = _algorithm(quant, "moe_quant_algo") if quant.has("moe_quant_algo") else Precision.MXFP4
        return Checkpoint(algo, experts_quantised=True, kv_precision=kv, rest_precision=_uniform_precision(quant))
    if quant.text("quant_algo", "") == "MIXED_PRECISION":
        return _mixed(quant, kv)
    precision = _uniform_precision(quant)
    attention, dense = _quantised_parts(quant, precision, latent_moe=latent_attention and moe, layers=layers)
    scaled = _integer_bytes(quant) if precision is Precision.INT4 else 0.0
    return Checkpoint(precision, attention, dense, moe, kv, bytes_per_value=scaled)


def _integer_bytes(quant: Config) -> float:
    """Half a byte and one 2-byte scale per group, where the config states the group; else 0."""
    holder = quant
    if quant.has("config_groups"):
        groups = quant.section("config_groups")
        holder = groups.section(sorted(groups.values)[0]).section("weights")
    size = holder.count("group_size", "q_group_size", default=0) if not _whole_rows(holder) else 0
    return 0.5 + 2 / size if size else 0.0


def _whole_rows(holder: Config) -> bool:
    """GPTQ writes -1 for one scale a row."""
    return holder.values.get("group_size") == -1


def _quantised_parts(quant: Config, precision: Precision, *, latent_moe: bool, layers: int) -> tuple[bool, bool]:
    """Whether attention and dense MLPs are quantised. A part counts as left alone when most layers leave it alone."""
    if quant.text("quant_method", "") == "mxfp4":
        return False, False  # gpt-oss: experts only
    kept = _kept_modules(quant)
    if kept:
        attention = [name for name in kept if _is_attention(name)]
        mlps = [name for name in kept if name.rstrip("*.").endswith(_MLP_WORDS)]
        return not _most_layers(attention, layers), not _most_layers(mlps, layers)
    four_bit_latent = latent_moe and precision.bytes_per_value < 1
    return not four_bit_latent, not four_bit_latent or precision is Precision.NVFP4


def _is_attention(name: str) -> bool:
    """Whether a kept module is a layer's attention or its query projection, not a small part of it or of a tower."""
    last = name.rstrip("*.$").rsplit(".", 1)[-1]
    return any(last.endswith(word) for word in _ATTENTION_ENDS) and not any(word in name for word in _TOWERS)


def _most_layers(names: list[str], layers: int) -> bool:
    """Whether the names cover more than half of the layers: by number, or at once by a pattern without one."""
    numbers = [re.search(r"layers\.(\d+)\.", name) for name in names]
    return any(n is None for n in numbers) or 2 * len({n[1] for n in numbers if n}) > layers


def _kept_modules(quant: Config) -> list[str]:
    found: list[str] = []
    for key in ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "exclude"):
        if quant.has(key):
            found += quant.names(key)
    return found


def _uniform_precision(quant: Config) -> Precision:
    if quant.has("quant_algo") and quant.text("quant_algo", "") != "MIXED_PRECISION":
        return _algorithm(quant, "quant_algo")
    method = quant.text("quant_method", "")
    read = _METHODS.get(method)
    if read is None:
        raise quant.wrong("quant_method", "is not a quantisation polyfleet knows", f"known: {', '.join(_METHODS)}")
    return read(quant)


def _algorithm(quant: Config, key: str) -> Precision:
    name = quant.text(key, "")
    if name not in _ALGORITHMS:
        raise quant.wrong(key, "is not a quantisation polyfleet knows", f"known: {', '.join(_ALGORITHMS)}")
    return _ALGORITHMS[name]


def _by_bits(quant: Config) -> Precision:
    bits = quant.count("bits", "w_bit", default=4)
    if bits not in (4, 8):
        raise quant.wrong("bits", "must be 4 or 8")
    return Precision.INT8 if bits == 8 else Precision.INT4


def _bitsandbytes(quant: Config) -> Precision:
    return Precision.INT8 if quant.flag("load_in_8bit", False) else Precision.INT4


def _first_group(quant: Config) -> Precision:
    groups = quant.section("config_groups")
    for name in sorted(groups.values):
        return _weights(groups.section(name))
    raise quant.wrong("config_groups", "is empty")


def _weights(group: Config) -> Precision:
    weights = group.section("weights")
    kind, bits = weights.text("type", "int"), weights.count("num_bits", most=16)
    if (kind, bits) == ("float", 4):
        return Precision.MXFP4 if weights.count("group_size", default=16) == 32 else Precision.NVFP4
    if (kind, bits) == ("float", 8) and weights.has("group_size") and weights.count("group_size") == 32:
        return Precision.MXFP8
    if (kind, bits) not in _BY_WIDTH:
        raise weights.wrong("num_bits", f"of type {kind} is not a format polyfleet knows")
    return _BY_WIDTH[kind, bits]


def _quark(quant: Config) -> Precision:
    kind = quant.section("global_quant_config").section("weight").text("dtype", "")
    formats = {"fp4": Precision.MXFP4, "fp8_e4m3": Precision.FP8, "int8": Precision.INT8, "int4": Precision.INT4}
    if kind not in formats:
        raise quant.wrong("global_quant_config", f"has weights of an unknown dtype '{kind}'")
    return formats[kind]


def _mixed(quant: Config, kv: Precision) -> Checkpoint:
    """Formats that differ by part: the experts' or else the MLP's names the whole."""
    found: dict[str, Precision] = {}
    for precision, modules in _assignments(quant):
        for module in modules:
            found.setdefault(_part(module), precision)
    main = found.get("experts") or found.get("dense") or found.get("attention")
    if main is None:
        raise quant.wrong("quant_algo", "mixes formats, but the config does not say which", "config_groups is needed")
    return Checkpoint(
        main,
        attention_quantised=found.get("attention") == main,
        dense_quantised=found.get("dense") == main,
        experts_quantised=found.get("experts") == main,
        kv_precision=kv,
        rest_precision=found.get("attention", Precision.BF16),
        head_quantised=found.get("head") == main,
    )


def _assignments(quant: Config) -> list[tuple[Precision, list[str]]]:
    if quant.has("config_groups"):
        groups = quant.section("config_groups")
        return [
            (_weights(groups.section(name)), groups.section(name).texts("targets")) for name in sorted(groups.values)
        ]
    if quant.has("quantized_layers"):
        layers = quant.section("quantized_layers")
        return [(_algorithm(layers.section(name), "quant_algo"), [name]) for name in layers.values]
    return []


def _part(module: str) -> str:
    if "experts" in module.replace("shared_experts", ""):
        return "experts"
    if any(word in module for word in _ATTENTION_WORDS):
        return "attention"
    return "head" if module.endswith("lm_head") else "dense"


def _kv_precision(quant: Config, unsaid: Precision) -> Precision:
    scheme: Any = quant.values.get("kv_cache_scheme") or quant.values.get("kv_cache_quant_algo")
    if scheme is None:
        return unsaid
    if isinstance(scheme, str):
        return _algorithm(quant, "kv_cache_scheme" if quant.has("kv_cache_scheme") else "kv_cache_quant_algo")
    if isinstance(scheme, Mapping):
        return _weights(Config({"weights": scheme}, quant.model, f"{quant.path}kv_cache_scheme."))
    raise quant.wrong("kv_cache_scheme", "must be an object or a name")


_METHODS: Mapping[str, Callable[[Config], Precision]] = {
    "auto-round": _by_bits,
    "awq": _by_bits,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _first_group,
    "fbgemm_fp8": lambda _: Precision.FP8,
    "fp8": lambda _: Precision.FP8,
    "gptq": _by_bits,
    "modelopt": _first_group,
    "mxfp4": lambda _: Precision.MXFP4,
    "mxfp8": lambda _: Precision.MXFP8,
    "quark": _quark,
}
