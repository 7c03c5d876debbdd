"""Models by name, alias and path."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.catalog.models import find_model, known_names, list_models, model_aliases, model_rows
from polyfleet.catalog.reading import TABLES
from polyfleet.errors import ModelError
from polyfleet.terms.precision import Precision

TINY = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
# 2 layers of 4 x 64 x 64 + 3 x 64 x 128 + 2 x 64, the final norm 64, two tables of 100 x 64
TINY_PARAMS = 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64 + 2 * 100 * 64


def written(folder: Path, text: str, name: str = "config.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("name", [*list_models(), *model_aliases()])
def test_every_listed_name_gives_its_model(name: str) -> None:
    model = find_model(name)
    assert model.name == name
    assert model.source
    assert model.total_params >= model.active_params > 0


def test_every_model_has_a_date_and_a_source() -> None:
    for name, row in model_rows().items():
        assert row["source"], name
        assert row["as_of"][:2] == "20", name


def test_every_config_file_is_listed_and_every_listed_file_is_there() -> None:
    files = {path.name for path in (TABLES / "models" / "configs").glob("*.json")}
    assert files == {row["file"] for row in model_rows().values()}


def test_alias_has_the_architecture_it_names_and_says_why() -> None:
    for alias, row in model_aliases().items():
        model, base = find_model(alias), find_model(row["model"])
        assert model.groups == base.groups
        assert row["reason"] in model.notes[-1]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("Llama-3.3-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("META-LLAMA/llama-3.3-70b-instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("gpt-oss-120b", "openai/gpt-oss-120b"),
        ("  openai/gpt-oss-120b ", "openai/gpt-oss-120b"),
    ],
)
def test_case_and_publisher_may_be_left_out(asked: str, found: str) -> None:
    assert find_model(asked).name == found


def test_quantised_repackaging_has_its_own_formats() -> None:
    assert find_model("cyankiwi/Qwen3.6-27B-AWQ-INT4").checkpoint.precision is Precision.INT4
    assert find_model("amd/GLM-5.2-MXFP4").checkpoint.precision is Precision.MXFP4
    assert find_model("nvidia/Llama-3.1-8B-Instruct-FP8").checkpoint.kv_precision is Precision.FP8


def test_bare_names_that_two_publishers_share_are_not_guessed() -> None:
    owners: dict[str, set[str]] = {}
    for name in (*list_models(), *model_aliases()):
        owners.setdefault(name.rsplit("/", 1)[-1].casefold(), set()).add(name)
    shared = [bare for bare, names in owners.items() if len(names) > 1]
    assert all(bare not in known_names() for bare in shared)


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("meta-llama/Llama-3.3-70B", "meta-llama/Llama-3.3-70B-Instruct"),
        ("openai/gpt-oss-210b", "openai/gpt-oss-20b"),
        ("Qwen/Qwen3-32", "Qwen/Qwen3-32B"),
    ],
)
def test_unknown_name_offers_near_ones(asked: str, offered: str) -> None:
    with pytest.raises(ModelError, match="did you mean") as caught:
        find_model(asked)
    assert offered in str(caught.value)


@pytest.mark.parametrize("asked", ["", "   ", "no-such-model", "a/b/c", "\x00", "x" * 5000])
def test_name_that_is_no_model_is_refused(asked: str) -> None:
    with pytest.raises(ModelError):
        find_model(asked)


def test_folder_and_file_give_the_users_own_model(tmp_path: Path) -> None:
    file = written(tmp_path / "mine", json.dumps(TINY))
    by_folder, by_file = find_model(str(tmp_path / "mine")), find_model(str(file))
    assert by_folder == by_file
    assert by_folder.name == "mine"
    assert by_folder.total_params == TINY_PARAMS


def test_file_of_another_name_names_its_model(tmp_path: Path) -> None:
    assert find_model(str(written(tmp_path, json.dumps(TINY), "tiny-llama.json"))).name == "tiny-llama"


def test_modelopt_file_beside_the_config_is_read(tmp_path: Path) -> None:
    written(tmp_path, json.dumps(TINY))
    written(tmp_path, json.dumps({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}),
            "hf_quant_config.json")  # fmt: skip
    checkpoint = find_model(str(tmp_path)).checkpoint
    assert (checkpoint.precision, checkpoint.kv_precision) == (Precision.NVFP4, Precision.FP8)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: is not JSON"),
        ('{\n  "hidden_size": 64,\n', "is not JSON"),
        ("[1, 2]", "must hold one JSON object"),
        ("null", "must hold one JSON object"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "config.json"),
        ("[" * 100_000, "config.json"),
        ('{"architectures": ["LlamaForCausalLM"]}', "'hidden_size' is missing"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ModelError) as caught:
        find_model(str(file))
    assert says in str(caught.value)
    assert "config.json" in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ModelError, match="not a JSON text"):
        find_model(str(tmp_path))


def test_missing_path_says_what_would_be_right(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="folder that holds"):
        find_model(str(tmp_path / "absent" / "config.json"))
    with pytest.raises(ModelError, match="cannot be read"):
        find_model(str(tmp_path))


@given(st.text(max_size=40))
def test_any_text_gives_a_model_or_a_model_error(text: str) -> None:
    with contextlib.suppress(ModelError):
        assert find_model(text).total_params > 0


def test_import_reads_no_table() -> None:
    code = (
        "import builtins, io, pathlib; seen = []; real = io.open\n"
        "def spy(file, *a, **k):\n"
        "    seen.append(str(file)); return real(file, *a, **k)\n"
        "io.open = builtins.open = spy\n"
        "import polyfleet.catalog.models\n"
        "print([s for s in seen if 'tables' in s])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
