"""The examples in docs/traffic.md give what the page shows."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples" / "traces", tmp_path / "examples" / "traces")
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(ROOT / "docs" / "traffic.md"), module_relative=False)
    assert found.attempted > 5
    assert found.failed == 0
