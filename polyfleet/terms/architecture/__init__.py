"""From a Hugging Face `config.json` to a `Model`: parameters, cache and state, counted exactly for each family.

One small file per family of architectures; `registry.py` is the table of all of them. No I/O here: a config comes in
as a mapping. An architecture that the table lacks is refused by name, never guessed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from polyfleet.errors import ModelError
from polyfleet.terms.architecture.checkpoint import read_checkpoint
from polyfleet.terms.architecture.parts import Body, group_layers
from polyfleet.terms.architecture.reading import Config
from polyfleet.terms.architecture.registry import BY_NAME, BY_TYPE, Family
from polyfleet.terms.model import Model

__all__ = ["known_architectures", "model_from_config"]

_TOWER_NOTE = "vision and audio towers are not counted"


def known_architectures() -> tuple[str, ...]:
    """The names in `architectures` that can be read, sorted."""
    return tuple(sorted(BY_NAME))


def model_from_config(config: Mapping[str, Any], *, name: str, source: str = "") -> Model:
    """Read a Hugging Face config.json.

    `config` is the parsed file. Parameters are counted from the widths it states: projections and their biases, norms,
    routers, experts, embeddings (once where tied). Vision and audio towers and multi-token-prediction layers are left
    out, and `Model.notes` says so.
    Raises ModelError for an architecture that is not known (with the nearest names) and for a broken or missing value
    (with its key).
    """
    if not isinstance(config, Mapping):
        raise ModelError(f"{name}: a config.json must hold one object", value=type(config).__name__)
    whole = Config(config, name)
    family = _family(whole)
    text = _language_part(whole)
    body = family.read(text)
    vocab = text.count("vocab_size")
    table = vocab * body.hidden_size
    groups = group_layers(body.layers)
    return Model(
        name=name,
        architecture=family.name,
        hidden_size=body.hidden_size,
        vocab_size=vocab,
        groups=groups,
        embedding_params=table + body.extra_params,
        head_params=_head_params(body, table, vocab),
        checkpoint=read_checkpoint(
            whole,
            text,
            latent_attention=any(g.attention.kind == "mla" for g in groups),
            moe=any(g.ffn.experts for g in groups),
            layers=len(body.layers),
            cache=body.cache_precision,
        ),
        max_context_tokens=text.context(),
        source=source,
        notes=((_TOWER_NOTE,) if family.towers else ()) + body.notes,
    )


def _head_params(body: Body, table: int, vocab: int) -> int:
    return (0 if body.tied else table) + (vocab if body.head_bias else 0)


def _family(config: Config) -> Family:
    """By `architectures[0]`; by `model_type` only where no architecture is named, as two may share a type."""
    names = config.texts("architectures") if config.has("architectures") else []
    asked = names[0] if names else config.text("model_type", "")
    known = BY_NAME.get(asked) if names else BY_TYPE.get(asked)
    if known is not None:
        return known
    if not asked:
        raise config.wrong("architectures", "is missing", "it names the architecture, for instance LlamaForCausalLM")
    near = difflib.get_close_matches(asked, (*BY_NAME, *BY_TYPE), n=3, cutoff=0.6)
    hint = f"near it: {', '.join(near)}" if near else f"known: {', '.join(sorted(BY_NAME)[:8])} ..."
    raise ModelError(f"{config.model}: architecture '{asked}' is not known", hint=hint)


def _language_part(config: Config) -> Config:
    """The section of the language model, with what only the top level says about tying."""
    key = next((k for k in ("text_config", "llm_config") if config.has(k)), None)
    if key is None:
        return config
    section = config.section(key)
    outer = {k: config.values[k] for k in ("tie_word_embeddings",) if config.has(k)}
    return Config({**outer, **section.values}, config.model, section.path)
