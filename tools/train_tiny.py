#!/usr/bin/env python3
"""Train the tiny model that polyfleet ships for trying things out: a Llama of 2.4 M parameters.

usage: python tools/train_tiny.py -o FOLDER [--steps 1300]    (needs torch, transformers, tokenizers; one CPU core)

It learns from the documentation strings of Python's own standard library (PSF licence, version 2), read as source text
of the Python that runs this script; no module is imported. The same Python on the same kind of CPU gives the same
weights, byte for byte; another CPU rounds differently, another Python has other texts. Hence the weights are shipped,
with `training.json` that tells what made them.

Matrices are trained with Muon (Jordan et al. 2024: momentum, made orthogonal by Newton-Schulz steps), which learns more
from each token than AdamW at this size; embedding and norms with AdamW.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import platform
import random
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 2048
STAGES = ((0.75, 256, 8), (1.0, 512, 4))
"""Until which share of the steps, on windows of how many tokens, how many at once: attention to far tokens is learnt
last, since it costs most."""
MATRIX_RATE, VECTOR_RATE = 0.02, 6e-3
SEED = 20261124
BEGIN, END, SYSTEM, USER, ASSISTANT = "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = [BEGIN, END, SYSTEM, USER, ASSISTANT]
SKIPPED = {
    *("test", "tests", "site-packages", "ensurepip", "pydoc_data", "turtledemo"),  # no library texts
    *("distutils", "encodings", "idlelib", "imaplib", "lib2to3", "nntplib", "telnetlib", "tkinter", "turtle"),  # dull
}
SHORTEST_CHARS, LONGEST_CHARS = 60, 1000

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + (message['content'] or '') + '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
QUESTIONS = (
    "What does {name} do?",
    "Explain {name}.",
    "How do I use {name}?",
    "Write documentation for {name}.",
    "Tell me about {name} in Python.",
    "{name}",
)


def documented() -> Iterator[tuple[str, str]]:
    """Names and texts, in a fixed order: `json.dumps`, then its signature and docstring."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if SKIPPED & set(parts) or any(part.startswith(("_", "config-")) and part != "__init__" for part in parts):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        yield from _of(tree, module)


def _of(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else None
    if text and SHORTEST_CHARS <= len(text) <= LONGEST_CHARS:
        head = f"{name}({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else name
        yield name, f"{head}\n\n{text}"
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
                yield from _of(child, f"{name}.{child.name}")


def samples() -> list[str]:
    """Every text as an answer in a chat, every third also plain. Shuffled with a fixed seed."""
    texts = []
    for place, (name, text) in enumerate(documented()):
        question = QUESTIONS[place % len(QUESTIONS)].format(name=name)
        texts.append(f"{BEGIN}{USER}\n{question}{END}\n{ASSISTANT}\n{text}{END}\n")
        if place % 3 == 0:
            texts.append(f"{BEGIN}{text}{END}")
    random.Random(SEED).shuffle(texts)
    return texts


def train_tokenizer(texts: list[str]) -> Any:
    """Byte-level BPE as GPT-2's, so that every engine has its pre-tokenizer; puts the beginning mark before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return tokenizer


def new_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=5,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=64,
            max_position_embeddings=2048,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=SPECIAL.index(BEGIN),
            eos_token_id=SPECIAL.index(END),
            attn_implementation="sdpa",
        )
    )


def train(model: Any, ids: Any, steps: int) -> float:
    """Random windows, a warm-up and a cosine; returns the mean loss (nats per token) of the last 50 steps."""
    import torch

    layers = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim == 1 or "embed" in name]
    momenta = [torch.zeros_like(p) for p in layers]
    adam = torch.optim.AdamW(others, lr=VECTOR_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    draw = torch.Generator().manual_seed(SEED)
    losses: list[float] = []
    began = time.monotonic()
    for step in range(steps):
        share = min((step + 1) / 40, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = model(input_ids=(window := draw_window(ids, step / steps, draw)), labels=window).loss
        model.zero_grad(set_to_none=True)
        loss.backward()
        adam.param_groups[0]["lr"] = VECTOR_RATE * share
        adam.step()
        for weight, momentum in zip(layers, momenta, strict=True):
            muon(weight, momentum, MATRIX_RATE * share)
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"{step + 1:6d}  loss {sum(losses[-50:]) / 50:.3f}  {time.monotonic() - began:.0f} s", flush=True)
    return sum(losses[-50:]) / len(losses[-50:])


def draw_window(ids: Any, done: float, draw: Any) -> Any:
    """Windows (batch, tokens) from random places of the text."""
    import torch

    tokens, batch = next((tokens, batch) for until, tokens, batch in STAGES if done < until)
    starts = torch.randint(0, len(ids) - tokens, (batch,), generator=draw)
    return torch.stack([ids[start : start + tokens] for start in starts.tolist()])


def muon(weight: Any, momentum: Any, rate: float) -> None:
    """One step: the momentum's nearest orthogonal matrix, by five Newton-Schulz steps with Muon's published numbers."""
    import torch

    with torch.no_grad():
        momentum.mul_(0.95).add_(weight.grad)
        step = weight.grad.add(momentum, alpha=0.95)
        wide = step if step.shape[0] <= step.shape[1] else step.T
        wide = wide / (wide.norm() + 1e-7)
        for _ in range(5):
            square = wide @ wide.T
            wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
        step = wide if step.shape[0] <= step.shape[1] else wide.T
        scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
        weight.mul_(1 - rate * 0.05).add_(step, alpha=-rate * scale)


def ship(model: Any, tokenizer: Any, folder: Path, facts: dict[str, Any]) -> None:
    """Write a Hugging Face folder: weights as f16, one tensor for the tied embedding."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.to(torch.float16).contiguous() for name, tensor in sorted(model.state_dict().items())}
    state.pop("lm_head.weight", None)
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    special = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": END,
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    _write(folder / "tokenizer_config.json", special)
    _write(folder / "config.json", CONFIG | {"vocab_size": VOCABULARY})
    generation = {"bos_token_id": SPECIAL.index(BEGIN), "eos_token_id": SPECIAL.index(END), "pad_token_id": 1}
    _write(folder / "generation_config.json", generation)
    _write(folder / "training.json", facts)


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 5,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float16",
}


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--steps", type=int, default=1300)
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    texts = samples()
    tokenizer = train_tokenizer(texts)
    ids = torch.tensor([i for text in texts for i in tokenizer.encode(text, add_special_tokens=False).ids])
    model = new_model()
    count = sum(p.numel() for p in model.parameters())
    print(f"{len(texts)} texts, {len(ids)} tokens, {count} parameters", flush=True)
    loss = train(model, ids, asked.steps)
    facts = {
        "texts": "documentation strings of CPython's standard library, PSF licence version 2",
        "python": platform.python_version(),
        "texts_sha256": hashlib.sha256("".join(texts).encode()).hexdigest(),
        "tokens": len(ids),
        "parameters": count,
        "steps": asked.steps,
        "tokens_per_step": [tokens * batch for _, tokens, batch in STAGES],
        "seed": SEED,
        "torch": torch.__version__,
        "last_loss_nats_per_token": round(loss, 3),
    }
    ship(model, tokenizer, asked.output, facts)


if __name__ == "__main__":
    main()
