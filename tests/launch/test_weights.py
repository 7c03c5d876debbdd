"""Weights are found, converted whole or not at all, and say the same in llama.cpp as in Transformers.

`tiny_reference.json` holds what Transformers says of the packaged weights (`tools/record_tiny.py` writes it).
"""

import hashlib
import json
import math
import multiprocessing
import resource
import shutil
import struct
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyfleet.catalog.models import find_model
from polyfleet.errors import InputError, ModelError
from polyfleet.launch.checkpoint import Checkpoint
from polyfleet.launch.gguf_file import interleave, widen, write_gguf
from polyfleet.launch.weights import TINY, find_folder, find_weights
from polyfleet.terms.architecture import model_from_config

gguf = pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

REFERENCE = json.loads(Path(__file__).with_name("tiny_reference.json").read_text(encoding="utf-8"))
SERVER = Path(__file__).with_name("exact_server.py")
PROMPTS = [*REFERENCE["chats"], *REFERENCE["plain"]]
CLEAR_LEAD_NATS = 2e-4  # below it, an engine's own order of summing may choose the other token
FAR_NATS = 2e-4  # 1.7e-5 was measured; a wrong rope, norm or template is off by hundredths and more


# ---- what is shipped -------------------------------------------------------------------------------------------------


def test_the_packaged_folder_is_the_one_the_reference_was_recorded_from_and_stays_below_5_mb():
    folder = find_folder(TINY)
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == REFERENCE["weights_sha256"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000


def test_the_planner_counts_the_parameters_that_the_packaged_file_has():
    held = sum(tensor.bits.size for tensor in Checkpoint(find_folder(TINY)).tensors())
    model = find_model(TINY)
    assert model.total_params == pytest.approx(held)
    own = model_from_config(Checkpoint(find_folder(TINY)).config, name=TINY)
    assert (own.groups, own.embedding_params, own.vocab_size) == (
        model.groups,
        model.embedding_params,
        model.vocab_size,
    )


# ---- finding ---------------------------------------------------------------------------------------------------------


def test_weights_are_converted_once_and_nothing_else_is_left(tmp_path):
    first = find_weights(TINY, tmp_path)
    written = first.stat().st_mtime_ns
    assert find_weights("Polyfleet/Tiny ", tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [first.name]


def test_several_processes_at_once_get_the_same_whole_file(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(find_weights, [(TINY, tmp_path)] * 6)
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [found[0].name]
    assert len(gguf.GGUFReader(found[0]).tensors) == 47


def test_a_changed_checkpoint_is_converted_anew(tmp_path):
    folder = _copy_of_tiny(tmp_path / "mine")
    before = find_weights(str(folder), tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = "{{ messages[0]['content'] }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    after = find_weights(str(folder), tmp_path)
    assert before != after
    assert before.name.startswith("mine-")
    assert _field(after, "tokenizer.chat_template") == config["chat_template"]


def test_a_gguf_file_of_the_users_is_taken_as_it_is(tmp_path):
    own = tmp_path / "own.gguf"
    shutil.copy(find_weights(TINY, tmp_path), own)
    assert find_weights(str(own), tmp_path / "home") == own
    (tmp_path / "folder").mkdir()
    inside = shutil.copy(own, tmp_path / "folder" / "model-00001-of-00002.gguf")
    shutil.copy(own, tmp_path / "folder" / "model-00002-of-00002.gguf")
    assert find_weights(str(tmp_path / "folder"), tmp_path / "home") == inside
    assert not (tmp_path / "home").exists()


def test_a_model_without_weights_here_is_refused_with_what_would_be_right(tmp_path):
    with pytest.raises(ModelError, match=r"no weights of this model here \(got 'meta/llama'\); write polyfleet/tiny"):
        find_weights("meta/llama", tmp_path)
    with pytest.raises(ModelError, match="no weights of this model"):
        find_folder(str(tmp_path))


def test_two_gguf_files_in_a_folder_are_a_question_not_a_guess(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"name one .*there are a\.gguf, b\.gguf"):
        find_weights(str(tmp_path), tmp_path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "x.gguf").write_text("<html>not found</html>")
    with pytest.raises(ModelError, match=r"x\.gguf: is no GGUF file"):
        find_weights(str(tmp_path / "x.gguf"), tmp_path)


def test_a_home_that_cannot_be_a_folder_is_said_in_one_line(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(InputError, match="cannot be made a folder"):
        find_weights(TINY, tmp_path / "home")


def _convert_with_little_room(home: Path) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        find_weights(TINY, home)
    except InputError as error:
        return str(error)
    return "written"


def test_a_full_disk_is_said_and_leaves_no_part_of_a_file(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        said = pool.apply(_convert_with_little_room, (tmp_path,))
    assert "cannot be written" in said
    assert not list((tmp_path / "weights").iterdir())
    assert find_weights(TINY, tmp_path).is_file()


# ---- folders that are not converted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"model_type": "qwen3"}, "only Llama folders"),
        ("config.json", {"rope_scaling": {"rope_type": "llama3"}}, "scaled RoPE"),
        ("config.json", {"quantization_config": {"quant_method": "fp8"}}, "quantised weights"),
        ("config.json", {"hidden_size": None}, "lacks a number"),
        ("config.json", {"vocab_size": 100}, "more tokens than the model"),
        ("tokenizer.json", {"normalizer": {"type": "NFC"}}, "byte-level BPE"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Metaspace"}}, "byte-level BPE"),
    ],
)
def test_what_the_layout_cannot_say_is_refused_and_nothing_written(tmp_path, file, change, said):
    folder = _copy_of_tiny(tmp_path / "mine")
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | change))
    with pytest.raises(ModelError, match=said):
        find_weights(str(folder), tmp_path)
    assert not list((tmp_path / "weights").iterdir())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, 6000).map(lambda size: _TINY_BYTES[:size]))
def test_broken_safetensors_raise_a_model_error_and_nothing_else(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("broken")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        list(Checkpoint(folder).tensors())


def test_a_header_that_lies_about_its_tensors_raises_a_model_error(tmp_path):
    for entry in ({"dtype": "F16", "shape": [3], "data_offsets": [0, 4]}, {"dtype": "F16"}, [], None, {"dtype": "I8"}):
        header = json.dumps({"x": entry}).encode()
        (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        with pytest.raises(ModelError):
            list(Checkpoint(tmp_path).tensors())


_TINY_BYTES = (find_folder(TINY) / "model.safetensors").read_bytes()[:6000]


# ---- converting ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.sampled_from([2, 4, 8, 64]), st.integers(0, 1000), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_attention_scores_are_the_same_by_neighbours_after_the_rows_change_places(heads, head_dim, distance, seed):
    """RoPE as Hugging Face does it on the rows as they are, as llama.cpp does it on the rows as they are laid."""
    dice = np.random.default_rng(seed)
    q, k = (dice.normal(size=(heads * head_dim, 5)) for _ in range(2))
    x, y = dice.normal(size=(2, 5))
    by_halves = _by_halves((q @ x).reshape(heads, head_dim), distance) * (k @ y).reshape(heads, head_dim)
    laid = _by_pairs((interleave(q, heads) @ x).reshape(heads, head_dim), distance)
    by_pairs = laid * (interleave(k, heads) @ y).reshape(heads, head_dim)
    np.testing.assert_allclose(by_halves.sum(1), by_pairs.sum(1), rtol=1e-9, atol=1e-9)


def _angles(head_dim: int, position: int) -> tuple[np.ndarray, np.ndarray]:
    angle = position * 10000.0 ** (-2 * np.arange(head_dim // 2) / head_dim)
    return np.cos(angle), np.sin(angle)


def _by_halves(x: np.ndarray, position: int) -> np.ndarray:
    cos, sin = _angles(x.shape[1], position)
    low, high = np.split(x, 2, axis=1)
    return np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=1)


def _by_pairs(x: np.ndarray, position: int) -> np.ndarray:
    cos, sin = _angles(x.shape[1], position)
    even, odd = x[:, 0::2], x[:, 1::2]
    return np.stack([even * cos - odd * sin, odd * cos + even * sin], axis=2).reshape(x.shape)


@given(st.floats(width=32, allow_nan=False))
def test_bfloat16_is_widened_to_the_value_it_stands_for(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0] >> 16
    sign, exponent, fraction = bits >> 15, (bits >> 7) & 0xFF, bits & 0x7F
    scale = 2.0 ** (max(exponent, 1) - 127)
    want = math.inf if exponent == 255 else scale * ((exponent > 0) + fraction / 128)
    assert widen(np.array([bits], "<u2"), "BF16")[0] == (-want if sign else want)


def test_tensors_hold_the_values_of_the_folder(tmp_path):
    folder = Checkpoint(find_folder(TINY))
    values = {tensor.name: tensor.bits.astype(np.float32) for tensor in folder.tensors()}
    laid = {tensor.name: tensor.data for tensor in gguf.GGUFReader(find_weights(TINY, tmp_path)).tensors}
    assert len(laid) == len(values)
    np.testing.assert_array_equal(laid["token_embd.weight"], values["model.embed_tokens.weight"])
    np.testing.assert_array_equal(laid["blk.4.ffn_down.weight"], values["model.layers.4.mlp.down_proj.weight"])
    q = values["model.layers.2.self_attn.q_proj.weight"]
    assert [row.tolist() for row in laid["blk.2.attn_q.weight"][:4]] == [q[i].tolist() for i in (0, 32, 1, 33)]


# ---- the same words in llama.cpp as in Transformers ------------------------------------------------------------------


class Engine:
    """llama.cpp's server with three slots, asked over HTTP."""

    def __init__(self, weights: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SERVER, weights],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, "the server did not start"

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def ids(self, text: str) -> list[int]:
        return self.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def greedy(self, prompt_ids: list[int], most: int = 96) -> dict:
        asked = {"prompt": prompt_ids, "n_predict": most, "temperature": 0, "return_tokens": True, "n_probs": 1}
        return self.post("/completion", asked | {"cache_prompt": False})

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    served = Engine(find_weights(TINY, tmp_path_factory.mktemp("home")))
    yield served
    served.close()


def test_random_strings_have_the_same_ids_as_in_transformers(engine):
    assert len(REFERENCE["strings"]) == 200
    differing = [entry["text"] for entry in REFERENCE["strings"] if engine.ids(entry["text"]) != entry["ids"]]
    assert differing == []


@pytest.mark.parametrize("chat", REFERENCE["chats"], ids=lambda chat: chat["messages"][0]["content"][:30])
def test_a_rendered_chat_has_the_same_ids_as_in_transformers(engine, chat):
    prompt = engine.post("/apply-template", {"messages": chat["messages"]})["prompt"]
    assert engine.ids(prompt) == chat["prompt_ids"]


@pytest.mark.parametrize("entry", PROMPTS, ids=range(len(PROMPTS)))
def test_greedy_text_is_that_of_transformers_until_a_token_leads_by_less_than_rounding(engine, entry):
    clear = next((at for at, lead in enumerate(entry["leads"]) if lead < CLEAR_LEAD_NATS), len(entry["ids"]))
    said = engine.greedy(entry["prompt_ids"])
    assert said["tokens"][:clear] == entry["ids"][:clear]
    logprobs = [token["logprob"] for token in said["completion_probabilities"]]
    assert logprobs[:clear] == pytest.approx(entry["logprobs"][:clear], abs=FAR_NATS)
    if clear == len(entry["ids"]):
        assert said["content"] == entry["text"]


def test_the_texts_compared_are_long_and_some_end_by_themselves():
    clear = [next((at for at, lead in enumerate(e["leads"]) if lead < CLEAR_LEAD_NATS), len(e["ids"])) for e in PROMPTS]
    assert sum(clear) >= 0.95 * sum(len(entry["ids"]) for entry in PROMPTS)
    ended = [entry for entry in PROMPTS if entry["ids"][-1] == 1]
    assert 5 <= len(ended) < len(PROMPTS)


def test_a_greedy_text_does_not_depend_on_who_else_is_asking(engine):
    alone = [engine.greedy(entry["prompt_ids"])["tokens"] for entry in PROMPTS]
    with ThreadPoolExecutor(3) as several:
        beside = list(several.map(lambda entry: engine.greedy(entry["prompt_ids"])["tokens"], PROMPTS))
    assert beside == alone


def test_an_untied_checkpoint_in_bfloat16_parts_says_nearly_the_same(tmp_path):
    """The weights rounded to bfloat16, in two files, with the output head apart: other code paths, the same model."""
    folder = _copy_of_tiny(tmp_path / "parts")
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {tensor.name: tensor.bits.astype(np.float32) for tensor in Checkpoint(folder).tensors()}
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for part, chosen in enumerate((names[:20], names[20:])):
        _save_bfloat16(folder / f"model-{part}.safetensors", {name: tensors[name] for name in chosen})
    write_gguf(Checkpoint(folder), tmp_path / "parts.gguf", "parts")
    served = Engine(tmp_path / "parts.gguf")
    try:
        off = [abs(served.greedy(e["prompt_ids"], 1)["completion_probabilities"][0]["logprob"] - e["logprobs"][0])
               for e in PROMPTS]  # fmt: skip
    finally:
        served.close()
    assert float(np.median(off)) < 0.05


def _save_bfloat16(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header, parts, at = {}, [], 0
    for name, values in tensors.items():
        part = ((np.ascontiguousarray(values).view(np.uint32) + 0x8000) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def _copy_of_tiny(target: Path) -> Path:
    return Path(shutil.copytree(find_folder(TINY), target))


def _field(path: Path, name: str) -> str:
    return str(gguf.GGUFReader(path).fields[name].contents())
