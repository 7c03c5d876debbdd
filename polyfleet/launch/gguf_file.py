"""Writes a GGUF file, which llama.cpp reads, from a Hugging Face folder of the Llama architecture.

Tensors keep their 16 bits, or are widened to 32 (see `write_gguf`). llama.cpp turns pairs of neighbouring channels
where Hugging Face turns the two halves of a head, so the rows of q and k change places. Source of names and layout: the
GGUF specification and the `gguf` package, which writes the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from polyfleet.errors import MissingExtraError, ModelError
from polyfleet.launch.checkpoint import Checkpoint, Tensor

if TYPE_CHECKING:
    from gguf import GGUFWriter

LAYOUT = 2
"""Counts changes of what is written, so that a file of an older layout is not taken for this one's."""

_WHOLE: Mapping[str, str] = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_LAYER: Mapping[str, str] = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_HINT = "give a GGUF file of it (llama.cpp's converter makes one)"


@dataclass(frozen=True, slots=True)
class _Shape:
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    vocabulary: int
    norm_epsilon: float
    rope_theta: float


def write_gguf(checkpoint: Checkpoint, target: Path, name: str, *, widened: bool = False) -> None:
    """Write `target`. `name` goes into the file's own description.

    `widened` stores every tensor in 32 bits. llama.cpp rounds activations to the weights' width, and the rounding
    depends on what else is in its batch: with 32 bits a greedy text does not depend on who else is asking.

    Raises ModelError where the folder is none of a plain Llama with a byte-level BPE as GPT-2's, OSError where the disk
    refuses, MissingExtraError without the package `gguf`.
    """
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise MissingExtraError("writing weights for llama.cpp", "local") from None
    shape = _shape(checkpoint)
    writer = GGUFWriter(target, "llama")
    try:
        writer.add_name(name)
        _add_shape(writer, shape)
        _add_tokenizer(writer, checkpoint, shape.vocabulary)
        _add_tensors(writer, checkpoint, shape, widened)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _shape(checkpoint: Checkpoint) -> _Shape:
    """The numbers of the config. Raises ModelError for what this layout cannot say."""
    config, file = checkpoint.config, str(checkpoint.folder / "config.json")
    if config.get("model_type") != "llama":
        raise ModelError("only Llama folders are converted", file=file, value=config.get("model_type"), hint=_HINT)
    rope = config.get("rope_parameters") or {}
    scaling = rope.get("rope_type") or (config.get("rope_scaling") or {}).get("rope_type") or "default"
    if scaling != "default" or config.get("quantization_config") or config.get("attention_bias"):
        raise ModelError("scaled RoPE, biases and quantised weights are not converted", file=file, hint=_HINT)
    try:
        heads = int(config["num_attention_heads"])
        return _Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            feed_forward=int(config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            context=int(config["max_position_embeddings"]),
            vocabulary=int(config["vocab_size"]),
            norm_epsilon=float(config.get("rms_norm_eps", 1e-6)),
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"lacks a number that a Llama has: {error}", file=file) from None


def _add_shape(writer: GGUFWriter, shape: _Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)


def _add_tokenizer(writer: GGUFWriter, checkpoint: Checkpoint, vocabulary: int) -> None:
    from gguf import TokenType

    tokenizer, file = checkpoint.tokenizer, str(checkpoint.folder / "tokenizer.json")
    _check_bytewise(tokenizer, file)
    ids: dict[str, int] = dict(tokenizer["model"]["vocab"])
    added = {str(entry["content"]): entry for entry in tokenizer.get("added_tokens") or ()}
    ids |= {text: int(entry["id"]) for text, entry in added.items()}
    if max(ids.values()) >= vocabulary:
        raise ModelError("has more tokens than the model", file=file, value=max(ids.values()) + 1)
    texts = [f"<|unused {place}|>" for place in range(vocabulary)]
    kinds = [TokenType.UNUSED] * vocabulary
    for text, place in ids.items():
        special = bool(added.get(text, {}).get("special"))
        texts[place] = text
        kinds[place] = TokenType.CONTROL if special else TokenType.USER_DEFINED if text in added else TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    _add_special(writer, checkpoint, ids)


def _check_bytewise(tokenizer: Mapping[str, Any], file: str) -> None:
    """Raises ModelError unless it is a BPE over bytes that splits text as GPT-2 does, without changing it first."""
    model, splits = tokenizer.get("model") or {}, tokenizer.get("pre_tokenizer") or {}
    plain = splits.get("type") == "ByteLevel" and splits.get("use_regex", True) and not splits.get("add_prefix_space")
    whole = not model.get("ignore_merges") and not model.get("byte_fallback")
    if model.get("type") != "BPE" or not plain or not whole or tokenizer.get("normalizer"):
        raise ModelError("only a byte-level BPE that splits as GPT-2's is converted", file=file, hint=_HINT)


def _add_special(writer: GGUFWriter, checkpoint: Checkpoint, ids: Mapping[str, int]) -> None:
    named = {kind: _named(checkpoint.tokenizer_config.get(f"{kind}_token")) for kind in ("bos", "eos", "pad")}
    for kind, add in (
        ("bos", writer.add_bos_token_id),
        ("eos", writer.add_eos_token_id),
        ("pad", writer.add_pad_token_id),
    ):
        text = named[kind]
        if text in ids:
            add(ids[text])
    writer.add_add_bos_token(_puts_first(checkpoint.tokenizer, named["bos"]))
    writer.add_add_eos_token(False)
    if checkpoint.chat_template:
        writer.add_chat_template(checkpoint.chat_template)


def _named(token: object) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _puts_first(tokenizer: Mapping[str, Any], begin: str) -> bool:
    """Whether the tokenizer itself puts the beginning mark before a text."""
    first = json.dumps((tokenizer.get("post_processor") or {}).get("single", ())[:1])
    return json.dumps(begin) in first


def _add_tensors(writer: GGUFWriter, checkpoint: Checkpoint, shape: _Shape, widened: bool) -> None:
    from gguf import GGMLQuantizationType

    for name, tensor in _renamed(checkpoint):
        bits = tensor.bits
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            bits = interleave(bits, shape.heads if name.endswith("attn_q.weight") else shape.kv_heads)
        if widened or bits.ndim == 1:
            writer.add_tensor(name, np.ascontiguousarray(widen(bits, tensor.kind)))
        elif tensor.kind == "BF16":
            bytewise = np.ascontiguousarray(bits).view(np.uint8)
            writer.add_tensor(name, bytewise, raw_dtype=GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(name, np.ascontiguousarray(bits))


def _renamed(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    tied = bool(checkpoint.config.get("tie_word_embeddings"))
    for tensor in checkpoint.tensors():
        if tensor.name.endswith("rotary_emb.inv_freq") or (tied and tensor.name == "lm_head.weight"):
            continue  # computed by every engine itself; the same as the embedding
        yield _new_name(tensor.name), tensor


def _new_name(name: str) -> str:
    if name in _WHOLE:
        return _WHOLE[name]
    parts = name.removesuffix(".weight").split(".", 3)
    if parts[:2] == ["model", "layers"] and len(parts) == 4 and parts[2].isdigit() and parts[3] in _IN_LAYER:
        return f"blk.{parts[2]}.{_IN_LAYER[parts[3]]}.weight"
    raise ModelError("has a tensor that a Llama does not have", value=name, hint=_HINT)


def interleave(weight: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Rows (heads x head_dim, ...) with the two halves of each head laid in turns: 0, d/2, 1, d/2 + 1, ..."""
    halves = weight.reshape(heads, 2, -1, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def widen(bits: npt.NDArray[Any], kind: str) -> npt.NDArray[np.float32]:
    """The values as float32; bfloat16 is the upper half of one."""
    if kind == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float32)
