#!/usr/bin/env python3
"""Record what Transformers says of a checkpoint, so that other engines can be held to it.

usage: python tools/record_tiny.py FOLDER -o tests/launch/tiny_reference.json     (needs torch and transformers)

Records, from FOLDER: token ids of random strings (fixed seed), rendered chats with their ids, and greedy continuations
of prompts in float32: ids, text, the log-probability of each id, and its lead over the runner-up. Where the lead is
tiny an engine's own rounding may decide, so a comparison can stop there.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
from __future__ import annotations

import argparse
import hashlib
import json
import random
from pathlib import Path
from typing import Any

SEED = 7
STRINGS = 200
MOST_TOKENS = 96
CHATS = (
    "What does json.dumps do?",
    "Explain heapq.heappush.",
    "How do I use asyncio.gather?",
    "Write documentation for pathlib.Path.",
    "Tell me about the with statement in Python.",
    "What does os.walk do?",
    "random.Random.shuffle",
    "Explain threading.Lock.",
    "hello",
    "Write a long text about exceptions. Don't stop early!",
)
BEFORE = (
    {"role": "system", "content": "You write documentation."},
    {"role": "user", "content": "Explain threading.Lock."},
    {"role": "assistant", "content": None},
)
"""Comes before the last chat; an assistant that only called a tool has no content."""
PLAIN = (
    "csv.reader",
    "Return a new list",
    "The try statement",
    "collections.Counter(",
    "Raises ValueError if",
    "This module provides",
    "    def __init__(self",
    "naïve café — 日本語 🎉",
    "1234567890 + 2 == ",
    "urllib.parse.quote",
)
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ETAOIN    .,'-()_=\n",
    "0123456789+-*/=.,% ",
    "äöüßéèçñøłžşğ ÀÉÎ",
    "привет мир ЖЩЫ",
    "日本語中文漢字かなカナ한국어",
    "🎉👩‍👩‍👧🏽‍💻🇫🇷✌️é́̂",
    "\t\n\r  \u00a0\u2003\u3000\u0085\u200b\ufeff",
    "'s 't 're 've 'm 'll 'd I'M don't",
    "¼½²³٣४๔Ⅳ①",
    "<|begin|><|end|><|user|>\n<|assistant|>",
)


def random_strings() -> list[str]:
    """Half from one alphabet each, half from all of them and from the whole of Unicode."""
    dice = random.Random(SEED)
    found = []
    for place in range(STRINGS):
        size = dice.randint(1, 40)
        if place % 2:
            found.append("".join(dice.choice(ALPHABETS[place // 2 % len(ALPHABETS)]) for _ in range(size)))
        else:
            found.append("".join(_any_character(dice) for _ in range(size)))
    return found


def _any_character(dice: random.Random) -> str:
    if dice.random() < 0.7:
        return dice.choice(dice.choice(ALPHABETS))
    point = dice.randrange(0x20, 0x30000)
    return chr(point) if not 0xD800 <= point < 0xE000 else "?"


def greedy(model: Any, tokenizer: Any, ids: list[int]) -> dict[str, Any]:
    """The greedy continuation, with the log-probability of each id and its lead in nats."""
    import torch

    chosen: list[int] = []
    logprobs: list[float] = []
    leads: list[float] = []
    while len(chosen) < MOST_TOKENS and (not chosen or chosen[-1] != model.config.eos_token_id):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + chosen])).logits[0, -1]
        best = torch.log_softmax(logits.double(), -1).topk(2)
        chosen.append(int(best.indices[0]))
        logprobs.append(round(float(best.values[0]), 6))
        leads.append(round(float(best.values[0] - best.values[1]), 6))
    return {
        "prompt_ids": ids,
        "ids": chosen,
        "text": tokenizer.decode(chosen, skip_special_tokens=True, clean_up_tokenization_spaces=False),
        "logprobs": logprobs,
        "leads": leads,
    }


def record(folder: Path) -> dict[str, Any]:
    import torch
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    strings = random_strings()
    chats = []
    for text in CHATS:
        before = BEFORE if text == CHATS[-1] else ()
        messages = [*before, {"role": "user", "content": text}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
        chats.append({"messages": messages, "rendered": rendered, **greedy(model, tokenizer, ids)})
    plain = [{"prompt": text, **greedy(model, tokenizer, tokenizer(text)["input_ids"])} for text in PLAIN]
    return {
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__, "dtype": "float32"},
        "strings": [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in strings],
        "chats": chats,
        "plain": plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    found = record(asked.folder)
    asked.output.write_text(json.dumps(found, ensure_ascii=True, indent=None) + "\n", encoding="utf-8")
    ended = sum(1 for entry in (*found["chats"], *found["plain"]) if len(entry["ids"]) < MOST_TOKENS)
    print(f"{len(found['strings'])} strings, {len(CHATS) + len(PLAIN)} prompts, {ended} ended by themselves")


if __name__ == "__main__":
    main()
